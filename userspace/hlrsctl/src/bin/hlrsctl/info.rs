// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hlrsctl info`

use hlrs::SriovMode;
use hlrsctl::Size;

use crate::select;
use crate::Result;

pub fn run(name: Option<&str>) -> Result<()> {
    let node = select::node(name)?;
    let device = node.open()?;
    let info = device.info()?;
    println!("node           {}", node.path.display());
    println!("PCI            {}", node.address);
    println!(
        "PCI ID         {:04x}:{:04x} revision {}",
        info.vendor_id, info.device_id, info.revision
    );
    println!("card           {:#018x}", info.uid);
    println!("interface      version {}.{}", info.abi.0, info.abi.1);
    println!("function       {}", function(info.sriov));
    println!("peer to peer   {}", yes(info.p2p));
    println!("link           {}", yes(info.link));
    println!("largest job    {}", Size(info.max_copy_size));
    for engines in device.engines()? {
        println!("engines        {} x {:?}", engines.capacity, engines.class);
    }
    for region in device.regions()? {
        println!(
            "memory {}       {:?}, pages of {}",
            region.instance,
            region.class,
            Size(region.min_page_size.into())
        );
        if region.total != 0 {
            let visible = (region.cpu_visible_used, region.cpu_visible);
            println!(
                "               {} of {} used",
                Size(region.used),
                Size(region.total)
            );
            println!(
                "               {} of {} that CPU and peers can reach",
                Size(visible.0),
                Size(visible.1)
            );
        } else {
            println!("               {} used", Size(region.used));
        }
    }
    if let Some(counters) = node.counters() {
        println!("counters");
        for (name, value) in counters.iter() {
            println!("  {name:<20} {value}");
        }
    }
    Ok(())
}

fn function(mode: SriovMode) -> String {
    match mode {
        SriovMode::None => "physical, without SR-IOV".to_owned(),
        SriovMode::PhysicalFunction => "physical".to_owned(),
        SriovMode::VirtualFunction(number) => format!("virtual function {number}"),
        other => format!("{other:?}"),
    }
}

fn yes(flag: bool) -> &'static str {
    if flag {
        "yes"
    } else {
        "no"
    }
}
