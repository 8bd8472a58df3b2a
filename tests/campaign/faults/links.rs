//! The network between the daemon and a server: our own wires, with weather.

use std::time::Duration;

use super::kills::alive;
use super::{Outcome, Ran, Run};
use crate::stage::Stage;
use crate::support::wire::{Proxy, Weather};

#[derive(Clone, Copy, Debug)]
enum Link {
    Cut,
    Reset,
    /// Nobody listens for a while.
    Closed,
    HalfOpen,
    /// Half-open, and then the connection is reset.
    HalfOpenThenReset,
    Trickle,
    Late,
    AnswersHeld,
    /// An answer is cut short after so many bytes.
    AnswerLost(u32),
}

const ALL: [Link; 11] = [
    Link::Cut,
    Link::Reset,
    Link::Closed,
    Link::HalfOpen,
    Link::HalfOpenThenReset,
    Link::Trickle,
    Link::Late,
    Link::AnswersHeld,
    Link::AnswerLost(0),
    Link::AnswerLost(1),
    Link::AnswerLost(200),
];

pub fn link(stage: &mut Stage, run: &mut Run) -> Ran {
    // Both servers in turns, and both at once now and then.
    let which = ["source", "sink", "both"][run.number() / ALL.len() % 3];
    let link = run.turn(&ALL);
    run.variant = format!("{which}: {link:?}");
    stage.load(run.seed);
    run.pause_ms(300..1_000);
    alive(stage)?;
    let for_a_while = Duration::from_millis(run.dice.u64(500..8_000));
    let wires: Vec<&Proxy> = match which {
        "source" => vec![&stage.source],
        "sink" => vec![&stage.sink],
        _ => vec![&stage.source, &stage.sink],
    };
    let mut dice = run.dice.clone();
    harm(&wires, link, for_a_while, &mut dice);
    run.pause_ms(100..500);
    stage.converge().map(|()| Outcome::Held)
}

fn harm(wires: &[&Proxy], link: Link, for_a_while: Duration, dice: &mut fastrand::Rng) {
    let weather = |weather: Weather| wires.iter().for_each(|wire| wire.set(weather));
    let cut = || wires.iter().map(|wire| wire.cut()).sum::<usize>();
    let reset = || wires.iter().map(|wire| wire.reset()).sum::<usize>();
    match link {
        Link::Cut | Link::Reset => {
            for _ in 0..dice.u32(1..=4) {
                if matches!(link, Link::Cut) {
                    cut()
                } else {
                    reset()
                };
                std::thread::sleep(Duration::from_millis(dice.u64(50..600)));
            }
        }
        Link::Closed => {
            weather(Weather::Closed);
            cut();
            std::thread::sleep(for_a_while);
        }
        Link::HalfOpen => {
            weather(Weather::Silent);
            std::thread::sleep(for_a_while);
        }
        Link::HalfOpenThenReset => {
            weather(Weather::Silent);
            std::thread::sleep(for_a_while);
            reset();
        }
        Link::Trickle => {
            weather(Weather::Trickle);
            std::thread::sleep(for_a_while);
        }
        Link::Late => {
            weather(Weather::Late(Duration::from_millis(dice.u64(20..2_000))));
            std::thread::sleep(for_a_while);
        }
        Link::AnswersHeld => {
            weather(Weather::AnswersHeld);
            std::thread::sleep(for_a_while);
            if dice.bool() {
                cut();
            }
        }
        Link::AnswerLost(bytes) => {
            for _ in 0..dice.u32(1..=4) {
                wires.iter().for_each(|wire| wire.lose_answer_after(bytes));
                std::thread::sleep(Duration::from_millis(dice.u64(100..500)));
            }
        }
    }
    weather(Weather::Clear);
}
