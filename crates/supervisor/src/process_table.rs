//! Which processes there are and whose children they are, from /proc at one moment. Blocks for about 10 µs a process
//! of the machine, so that the control thread asks for it elsewhere.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// All processes of the machine that this one may see.
#[derive(Debug, Default)]
pub struct ProcessTable {
    processes: BTreeMap<i32, Counted>,
}

/// What a process and its descendants take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// How many processes they are.
    pub processes: usize,
    /// Processor time since the start, user and system, those that ended by now included.
    pub cpu: Duration,
    /// Resident memory in bytes. Pages that several of them share are counted for each.
    pub resident_bytes: u64,
}

/// One process as `/proc/PID/stat` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Counted {
    parent: i32,
    group: i32,
    is_zombie: bool,
    /// In ticks of the clock: its own, and that of children it has waited for.
    ticks: u64,
    ticks_of_children: u64,
    resident_pages: u64,
}

impl ProcessTable {
    /// Counts them now. Those that may not be seen are left out, and those that end meanwhile.
    #[must_use]
    pub fn take() -> Self {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        let counted = |pid| Some((pid, parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?));
        Self { processes: pids.filter_map(counted).collect() }
    }

    /// The descendants of `pid`, parents before their children; not `pid` itself. Zombies are among them.
    #[must_use]
    pub fn descendants(&self, pid: i32) -> Vec<i32> {
        let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for (&child, counted) in &self.processes {
            children.entry(counted.parent).or_default().push(child);
        }
        let mut found = vec![pid];
        let mut next = 0;
        while let Some(parent) = found.get(next) {
            // Taken out, so that no circle of a torn reading can be walked twice.
            found.extend(children.remove(parent).unwrap_or_default());
            next += 1;
        }
        found.split_off(1)
    }

    /// The members of a process group that are not zombies.
    #[must_use]
    pub fn group(&self, group: i32) -> Vec<i32> {
        let of_it = self.processes.iter().filter(|(_, counted)| counted.group == group && !counted.is_zombie);
        of_it.map(|(&pid, _)| pid).collect()
    }

    /// What the descendants of a keeper take. Those that ended are in the keeper's own count, for it waited for
    /// them.
    #[must_use]
    pub fn usage(&self, keeper: i32) -> Usage {
        let ended = self.processes.get(&keeper).map_or(0, |keeper| keeper.ticks_of_children);
        let mut usage = Usage::default();
        let mut ticks = ended;
        for pid in self.descendants(keeper) {
            let counted = &self.processes[&pid];
            ticks += counted.ticks + counted.ticks_of_children;
            usage.processes += usize::from(!counted.is_zombie);
            usage.resident_bytes += counted.resident_pages * rustix::param::page_size() as u64;
        }
        usage.cpu = Duration::from_secs(ticks)
            / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100);
        usage
    }
}

/// Reads `/proc/PID/stat` (proc(5)). The name in parentheses may hold anything, so fields count from the last `)`.
fn parse(stat: &str) -> Option<Counted> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    // Field 3 of the manual, the state, is the first here.
    let field = |number: usize| fields.get(number - 3).copied();
    let count = |number: usize| field(number)?.parse::<u64>().ok();
    Some(Counted {
        parent: field(4)?.parse().ok()?,
        group: field(5)?.parse().ok()?,
        is_zombie: matches!(field(3)?, "Z" | "X"),
        ticks: count(14)? + count(15)?,
        ticks_of_children: count(16)? + count(17)?,
        resident_pages: count(24)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_no_field() {
        let stat =
            "7 (a) b (c) S 4 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 99 1000 55 18446744073709551615";
        let counted = Counted {
            parent: 4,
            group: 7,
            is_zombie: false,
            ticks: 30,
            ticks_of_children: 70,
            resident_pages: 55,
        };
        assert_eq!(parse(stat), Some(counted));
    }

    #[test]
    fn descendants_are_found_through_dead_and_living_parents() {
        let counted = |parent| Counted {
            parent,
            group: 1,
            is_zombie: parent == 3,
            ticks: 1,
            ticks_of_children: 0,
            resident_pages: 1,
        };
        let process_table = ProcessTable {
            processes: [(2, counted(1)), (3, counted(2)), (4, counted(3)), (5, counted(1)), (9, counted(4))]
                .into(),
        };
        assert_eq!(process_table.descendants(2), [3, 4, 9]);
        assert_eq!(process_table.descendants(9), [] as [i32; 0]);
        assert_eq!(process_table.usage(2).processes, 2);
    }
}
