//! What happens to a jail, drawn at random: the same for a seed, whoever lives through it.

use f2b_types::Id;
use fastrand::Rng;

const MOMENTS: usize = 30;

/// One jail and what becomes of it.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) seed: u64,
    pub(crate) ban_time: f64,
    pub(crate) find_time: f64,
    pub(crate) max_retry: i64,
    pub(crate) max_matches: i64,
    /// `bantime.*`, in this order.
    pub(crate) extra: Vec<(&'static str, &'static str)>,
    /// Bans in another jail, before all else: who, how long ago, how often.
    pub(crate) elsewhere: Vec<(Id, f64, i64)>,
    pub(crate) moments: Vec<Moment>,
}

/// Time passes, then something happens.
#[derive(Debug)]
pub(crate) struct Moment {
    pub(crate) seconds: f64,
    pub(crate) what: Happening,
    /// The next thing happens before this one is done with, as between threads.
    pub(crate) hasty: bool,
}

/// What happens.
#[derive(Debug)]
pub(crate) enum Happening {
    /// A line matches, of so many seconds after now.
    Found { id: Id, later: f64 },
    /// `set J attempt`.
    Attempt { id: Id, lines: Vec<String> },
    /// `set J banip`.
    Ban { ids: Vec<Id> },
    /// `set J unbanip`, or `unban --all`.
    Unban { ids: Option<Vec<Id>> },
    /// The jail stops, and starts again after so many seconds.
    Restart { seconds: f64 },
    /// Nothing.
    Quiet,
}

impl Life {
    pub(crate) fn random(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let ban_time = *pick(&mut rng, &[60.0, 60.0, 60.0, 7.0, -1.0]);
        Self {
            seed,
            ban_time,
            find_time: *pick(&mut rng, &[600.0, 20.0]),
            max_retry: rng.i64(1..4),
            max_matches: *pick(&mut rng, &[5, 2, 0]),
            extra: extra(&mut rng),
            elsewhere: (0..rng.usize(..3))
                .map(|_| (somebody(&mut rng), rng.f64() * 500.0, rng.i64(1..5)))
                .collect(),
            moments: (0..MOMENTS).map(|_| moment(&mut rng)).collect(),
        }
    }
}

fn pick<'a, T>(rng: &mut Rng, items: &'a [T]) -> &'a T {
    &items[rng.usize(..items.len())]
}

fn somebody(rng: &mut Rng) -> Id {
    Id::parse(&format!("192.0.2.{}", rng.u8(1..6)))
}

fn extra(rng: &mut Rng) -> Vec<(&'static str, &'static str)> {
    if rng.bool() {
        return Vec::new();
    }
    let mut extra = vec![("increment", "true")];
    let growth = [
        None,
        Some(("factor", "2")),
        Some(("factor", "0.3")),
        Some(("multipliers", "1 2 4 8")),
        Some(("formula", "ban.Time * math.exp(float(ban.Count+1)*banFactor)/math.exp(1*banFactor)")),
        Some(("formula", "ban.Time * (1<<(ban.Count if ban.Count<20 else 20)) * banFactor / 3")),
    ];
    extra.extend(pick(rng, &growth));
    let others = [("rndtime", "7"), ("maxtime", "1h"), ("maxtime", "90"), ("overalljails", "true")];
    extra.extend(others.into_iter().filter(|_| rng.u8(..3) == 0));
    extra
}

fn moment(rng: &mut Rng) -> Moment {
    let seconds = *pick(rng, &[0.0, 0.1, 1.0, 4.0, 20.0, 61.0, 300.0]);
    let what = match rng.u8(..20) {
        0..=11 => {
            // Mostly now, sometimes before, sometimes after now.
            let later = *pick(rng, &[0.0, 0.0, 0.0, -1.0, -30.0, -700.0, 5.0]);
            Happening::Found { id: somebody(rng), later }
        }
        12..=13 => {
            let lines = (0..rng.usize(..4)).map(|number| format!("line {number}")).collect();
            Happening::Attempt { id: somebody(rng), lines }
        }
        14..=15 => Happening::Ban { ids: (0..rng.usize(1..4)).map(|_| somebody(rng)).collect() },
        16..=17 => Happening::Unban { ids: rng.bool().then(|| vec![somebody(rng)]) },
        18 => Happening::Restart { seconds: *pick(rng, &[0.0, 10.0, 61.0]) },
        _ => Happening::Quiet,
    };
    Moment { seconds, what, hasty: rng.u8(..3) == 0 }
}
