//! What never happens, whatever happens and in whatever order.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::{Strategy, any, prop, prop_oneof, proptest};

use super::super::world::{MEMORY_MAX, World, app};
use super::super::{AppCommand, Event};
use crate::status::InstanceState;

/// Something that happens, to the process at this place in the list of those that live if it is about one.
#[derive(Debug, Clone)]
enum Op {
    Command(u8, u8),
    Started(usize),
    Ready(usize),
    NotReady(usize),
    Dies(usize),
    Emptied(usize),
    Full(usize),
    Pass(u16),
    ToDeadline,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => (0..9_u8, 0..5_u8).prop_map(|(verb, number)| Op::Command(verb, number)),
        4 => any::<usize>().prop_map(Op::Started),
        6 => any::<usize>().prop_map(Op::Ready),
        1 => any::<usize>().prop_map(Op::NotReady),
        4 => any::<usize>().prop_map(Op::Dies),
        4 => any::<usize>().prop_map(Op::Emptied),
        2 => any::<usize>().prop_map(Op::Full),
        4 => any::<u16>().prop_map(Op::Pass),
        4 => proptest::strategy::Just(Op::ToDeadline),
    ];
    prop::collection::vec(op, 1..120)
}

fn happens(world: &mut World, op: &Op) {
    let ids: Vec<_> = world.live.keys().copied().collect();
    let one = |at: usize| ids.get(at % ids.len().max(1)).copied();
    match *op {
        Op::Command(verb, number) => {
            world.tell(match verb {
                0 => AppCommand::Start,
                1 => AppCommand::Stop,
                2 => AppCommand::Restart(None),
                3 => AppCommand::Restart(Some(u32::from(number))),
                4 => AppCommand::Scale(u32::from(number).max(1)),
                5 => AppCommand::Replace(u32::from(number)),
                6 => {
                    let mut app = app(u32::from(number).max(1));
                    app.restart.max = (number == 4).then_some(2);
                    app.env.insert("VERSION".to_owned(), (number / 2).to_string());
                    AppCommand::Change(Arc::new(app))
                }
                _ => AppCommand::Roll { window: (number > 2).then_some(Duration::from_secs(60)) },
            });
        }
        Op::Started(at) => drop(one(at).map(|id| world.started(id))),
        Op::Ready(at) => drop(one(at).map(|id| world.ready(id))),
        Op::NotReady(at) => drop(one(at).map(|id| {
            world.started(id);
            world.step(Event::NotReady { id, why: "it was slow".to_owned() });
        })),
        Op::Dies(at) => drop(one(at).map(|id| world.dies(id))),
        Op::Emptied(at) => drop(one(at).map(|id| world.emptied(id))),
        Op::Full(at) => drop(one(at).map(|id| {
            (0..3).for_each(|_| world.step(Event::Sampled { id, memory: MEMORY_MAX * 2 }));
        })),
        Op::Pass(millis) => world.pass(Duration::from_millis(u64::from(millis))),
        Op::ToDeadline => drop(world.pass_to_deadline()),
    }
}

proptest! {
    /// Whatever happens in whatever order: `World` sees to it that no instance is lost, doubled or stopped without its
    /// drain, and that no start comes before its pause. In the end what is wanted is there, and nothing else.
    #[test]
    fn no_order_of_events_loses_doubles_or_cuts_an_instance(ops in ops(), instances in 1..4_u32, seed in any::<u64>()) {
        let mut world = World::new(app(instances), seed);
        for op in &ops {
            happens(&mut world, op);
        }
        world.calm_down();
        let seen = world.machine.look(world.now);
        let is_stopped = seen.state == crate::status::AppState::Stopped;
        let expected = |state| matches!(state, InstanceState::Ready | InstanceState::GivenUp) && !is_stopped
            || state == InstanceState::Stopped && is_stopped;
        assert!(seen.instances.iter().all(|instance| expected(instance.state)), "{seen:?}\n{}", world.told());
        let slots: Vec<u32> = seen.instances.iter().map(|instance| instance.id.slot).collect();
        assert_eq!(slots, (0..seen.wanted).collect::<Vec<_>>(), "{seen:?}\n{}", world.told());
        let unended: Vec<u64> = (1..=world.tickets).filter(|ticket| !world.ended.contains_key(ticket)).collect();
        assert!(unended.is_empty(), "{unended:?}\n{}", world.told());
    }
}
