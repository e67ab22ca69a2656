// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hlrsctl info`

use hlrs::Exported;
use hlrs::Process;
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
    if let Some(exports) = node.exports() {
        for export in exports {
            show_export(&export);
        }
    }
    Ok(())
}

/// A dma-buf, and below it who has it.
fn show_export(export: &Exported) {
    println!(
        "export         {} of {} at {:#x}, {}, {}, by {}",
        Size(export.size),
        export.memory,
        export.offset,
        export.access,
        export.state,
        process(&export.exporter),
    );
    for importer in &export.importers {
        println!(
            "               to {} {}, {}, by {}{}",
            importer.driver,
            importer.device,
            if importer.mappings > 0 {
                "mapped"
            } else {
                "not mapped"
            },
            process(&importer.process),
            if importer.pinned { ", pinned" } else { "" },
        );
    }
}

fn process(process: &Process) -> String {
    format!("{} ({})", process.pid, process.name)
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
