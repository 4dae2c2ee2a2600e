//! Ten thousand random lives of a jail over made-up time, lived twice: in haste, to see that what has to hold holds
//! whatever happens in whatever order, and step by step beside upstream's classes, to see that they decide the same.

mod life;
mod upstream;
mod world;

use std::ops::Range;
use std::thread;

use life::Life;
use upstream::Upstream;
use world::World;

const LIVES: u64 = 10_000;

/// All lives, or the one that `F2B_SEED` names.
fn seeds() -> Range<u64> {
    match std::env::var("F2B_SEED").ok().and_then(|text| text.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0..LIVES,
    }
}

/// - Nobody is banned twice at once, and nobody is unbanned who is not banned;
/// - no ban ends by itself before its time, and none is in force after it;
/// - a restart brings back exactly the bans that were in force and, for all that the database knows, still are;
/// - the numbers that `status` shows add up.
#[test]
fn bans_come_once_last_their_time_and_survive() {
    for seed in seeds() {
        let life = Life::random(seed);
        World::new(&life).live(true);
    }
}

/// What the actions are told, what the commands are answered and what is logged.
#[test]
fn upstream_decides_the_same() {
    const PROCESSES: usize = 2;
    thread::scope(|scope| {
        for first in 0..PROCESSES {
            let Some(upstream) = Upstream::start() else { return };
            scope.spawn(move || compare(upstream, seeds().skip(first).step_by(PROCESSES)));
        }
    });
}

fn compare(mut upstream: Upstream, seeds: impl Iterator<Item = u64>) {
    for seed in seeds {
        let life = Life::random(seed);
        upstream.begin(&life);
        let mut world = World::new(&life);
        world.live(false);
        let (ours, theirs) = (world.decisions, upstream.decisions());
        if let Some(number) = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs) {
            let lived = life.moments.iter().zip(&ours).take(number + 1);
            let lived: String = lived.map(|(moment, ours)| format!("{moment:?}\n  {ours:#?}\n")).collect();
            let options = Life { moments: Vec::new(), ..life };
            panic!("seed {seed}: upstream decides {:#?} in {options:?}, after\n{lived}", theirs[number]);
        }
        assert_eq!(ours.len(), theirs.len(), "seed {seed}");
    }
}
