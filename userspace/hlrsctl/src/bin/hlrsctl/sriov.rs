// SPDX-License-Identifier: MIT OR Apache-2.0
//! `hlrsctl sriov`

use hlrs::PhysicalFunction;
use hlrsctl::parse_size;
use hlrsctl::Size;

use crate::select;
use crate::usage;
use crate::Failure;
use crate::Result;

fn physical(name: Option<&str>) -> Result<PhysicalFunction> {
    let node = select::node(name)?;
    node.physical().ok_or_else(|| {
        Failure::Usage(format!(
            "{} is a virtual function; name the physical one",
            node.address
        ))
    })
}

pub fn status(name: Option<&str>) -> Result<()> {
    let pf = physical(name)?;
    let (enabled, total) = (pf.num_vfs()?, pf.total_vfs()?);
    println!(
        "{}: {enabled} of {total} virtual functions enabled",
        pf.address()
    );
    for number in 1..=total {
        let memory = match pf.quota(number)? {
            0 => "a fair share of the memory".to_owned(),
            bytes => Size(bytes).to_string(),
        };
        match (pf.vf_address(number), pf.vf_node(number)?) {
            (None, _) => println!("  VF {number}: not enabled; would get {memory}"),
            (Some(address), None) => {
                println!("  VF {number}: has {memory}; {address}, not bound to hlrs")
            }
            (Some(address), Some(node)) => {
                println!(
                    "  VF {number}: has {memory}; {address}, {}",
                    node.path.display()
                )
            }
        }
    }
    Ok(())
}

pub fn enable(name: &str, count: &str) -> Result<()> {
    let pf = physical(Some(name))?;
    match count.parse() {
        Ok(0) | Err(_) => usage(format!("{count:?} is not a number of virtual functions")),
        Ok(count) => Ok(pf.set_num_vfs(count)?),
    }
}

pub fn disable(name: &str) -> Result<()> {
    Ok(physical(Some(name))?.set_num_vfs(0)?)
}

pub fn quota(name: &str, number: &str, size: &str) -> Result<()> {
    let pf = physical(Some(name))?;
    let bytes = parse_size(size).map_err(Failure::Usage)?;
    let total = pf.total_vfs()?;
    match number.parse() {
        Ok(number) if (1..=total).contains(&number) => Ok(pf.set_quota(number, bytes)?),
        _ => usage(format!(
            "{number:?} is not the number of a virtual function, 1 to {total}"
        )),
    }
}
