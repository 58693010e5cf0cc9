//! Whole rollouts of imagined fleets, whatever happens to them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    Gates, Rollout, RolloutState, Wave, WaveAgents, WaveFigures, WaveState,
    fleet_view::AgentView,
    steps::{Told, start, step, take_back},
};
use crate::{
    Id, RevisionNumber,
    gateway::{AgentId, Answered, ConfigState, DeliveryRecord, FailedApply, LabelSelector, Labels},
};

const OLD: RevisionNumber = RevisionNumber(3);
const NEW: RevisionNumber = RevisionNumber(7);

fn id<T>(number: usize) -> Id<T> {
    Id::from_uuid(Uuid::from_u128(number as u128))
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
}

fn rollout(waves: &[(WaveAgents, u64)]) -> Rollout {
    let wave = |(which, soak_seconds): (WaveAgents, u64)| Wave {
        which,
        soak_seconds,
        state: WaveState::Waiting,
        members: None,
        started_at: None,
        soaking_since: None,
        waiting_since: None,
        finished_at: None,
        figures: WaveFigures::default(),
    };
    Rollout {
        id: id(99),
        workspace_id: id(1),
        revision: NEW,
        released: OLD,
        staged_since: OLD,
        message: String::new(),
        state: RolloutState::Running,
        reason: None,
        waves: waves.iter().cloned().chain([(WaveAgents::Rest, 0)]).map(wave).collect(),
        gates: Gates {
            max_failed_applies: 0,
            max_5xx_percent: 5.0,
            min_requests: 20,
            deadline_seconds: Gates::DEADLINE_SECONDS,
        },
        started_by: id(1),
        version: 1,
        created_at: at(0),
        updated_at: at(0),
        ended_at: None,
    }
}

/// A connected agent on what was released before.
fn agent(number: usize) -> AgentView {
    AgentView {
        id: id(number),
        name: format!("agent-{number}"),
        labels: Labels::from([("n".to_owned(), (number % 3).to_string())]),
        connected: true,
        last_seen_at: None,
        verified: false,
        verified_at: None,
        failed: None,
        nginx_down: false,
        answered_before: Answered::default(),
        answered_since: Answered::default(),
    }
}

fn verify(agent: &mut AgentView, seconds: i64) {
    agent.verified = true;
    agent.verified_at = Some(at(seconds));
}

fn failure(revision: RevisionNumber, seconds: i64, error: &str) -> FailedApply {
    let config = ConfigState { revision, checksum: String::new(), at: at(seconds) };
    FailedApply::new(config, error)
}

/// Which revision an agent is on.
fn serves(rollout: &Rollout, agent: AgentId) -> RevisionNumber {
    let completed = (rollout.state == RolloutState::Completed).then(|| rollout.clone());
    let under_way = rollout.state.is_under_way().then(|| rollout.clone());
    let staged_since = Some(OLD);
    let record = DeliveryRecord { staged_since, under_way, completed, ..Default::default() };
    match record.reached() {
        Some((revision, members)) if members.has(agent) => revision,
        _ => record.released().unwrap(),
    }
}

fn ids(numbers: &[usize]) -> WaveAgents {
    WaveAgents::AgentIds(numbers.iter().map(|it| id(*it)).collect())
}

fn told(it: Option<(Rollout, Vec<Told>)>, rollout: &mut Rollout) -> Vec<Told> {
    let Some((next, told)) = it else { return Vec::new() };
    assert_eq!(next.version, rollout.version + 1);
    *rollout = next;
    told
}

#[test]
fn who_goes_away_before_it_has_proven_anything_is_waited_for() {
    let mut fleet: Vec<_> = (0..2).map(agent).collect();
    let mut it = rollout(&[(ids(&[0]), 60)]);
    start(&mut it, &fleet, at(10));
    // Their server is started anew: nobody is connected.
    for (agent, seen) in fleet.iter_mut().zip([11, 9]) {
        (agent.connected, agent.last_seen_at) = (false, Some(at(seen)));
    }
    assert!(step(&it, &fleet, at(12)).is_none());
    assert_eq!(super::live(&it, &fleet).waves[0].figures.converging, 1);
    verify(&mut fleet[0], 13);
    told(step(&it, &fleet, at(13)), &mut it);
    assert_eq!(it.waves[0].soaking_since, Some(at(13)));
    // Who was away before the wave is not.
    let now = told(step(&it, &fleet, at(73)), &mut it);
    assert_eq!(now.last(), Some(&Told::Completed));
}

#[test]
fn a_wave_soaks_once_all_that_are_connected_have_it_and_the_next_follows() {
    let mut fleet: Vec<_> = (0..3).map(agent).collect();
    fleet[1].connected = false;
    let mut it = rollout(&[(ids(&[0, 1]), 60)]);
    assert_eq!(start(&mut it, &fleet, at(0)), [Told::WaveStarted(0)]);
    assert_eq!(it.waves[0].figures.offline, 1);
    assert!(step(&it, &fleet, at(1)).is_none(), "nobody has it yet");
    verify(&mut fleet[0], 2);
    assert!(told(step(&it, &fleet, at(2)), &mut it).is_empty());
    assert_eq!((it.waves[0].state, it.waves[0].soaking_since), (WaveState::Soaking, Some(at(2))));
    assert!(step(&it, &fleet, at(61)).is_none(), "it soaks");
    // One that comes back holds it up until it has it.
    fleet[1].connected = true;
    assert!(told(step(&it, &fleet, at(62)), &mut it).is_empty());
    assert_eq!(it.waves[0].waiting_since, Some(at(62)));
    verify(&mut fleet[1], 63);
    let now = told(step(&it, &fleet, at(63)), &mut it);
    assert_eq!(now, [Told::WaveFinished(0), Told::WaveStarted(1)]);
    assert_eq!(serves(&it, id(2)), NEW);
    assert!(step(&it, &fleet, at(64)).is_none());
    verify(&mut fleet[2], 65);
    let now = told(step(&it, &fleet, at(65)), &mut it);
    assert_eq!(now, [Told::WaveFinished(1), Told::Completed]);
    assert_eq!((it.state, it.ended_at), (RolloutState::Completed, Some(at(65))));
    assert!(step(&it, &fleet, at(66)).is_none());
}

#[test]
fn waves_without_agents_are_passed_over_and_the_rest_needs_none() {
    let mut it = rollout(&[(ids(&[7]), 600), (ids(&[8]), 600)]);
    start(&mut it, &[], at(0));
    let now = told(step(&it, &[], at(0)), &mut it);
    assert_eq!(now.last(), Some(&Told::Completed));
    assert_eq!(now.len(), 6, "two more started, three finished: {now:?}");
}

/// What an agent of the first wave does, and what the reason then begins with.
fn halted_by(change: impl Fn(&mut AgentView)) -> Option<String> {
    let mut fleet: Vec<_> = (0..3).map(agent).collect();
    let mut it = rollout(&[(ids(&[0]), 0)]);
    it.gates.max_failed_applies = 0;
    start(&mut it, &fleet, at(10));
    verify(&mut fleet[0], 11);
    told(step(&it, &fleet, at(11)), &mut it);
    assert_eq!(it.current(), Some(1), "the rest is under way");
    change(&mut fleet[0]);
    let told = told(step(&it, &fleet, at(12)), &mut it);
    if told.is_empty() {
        return None;
    }
    assert_eq!((told.as_slice(), it.state), (&[Told::Halted][..], RolloutState::Halted));
    assert!(it.waves.iter().all(|wave| wave.state == WaveState::TakenBack));
    assert!((0..3).all(|number| serves(&it, id(number)) == OLD));
    assert!(step(&it, &fleet, at(13)).is_none(), "it is over");
    it.reason
}

#[test]
fn gates_close_for_what_happened_since_and_for_nothing_else() {
    let failed = |revision, seconds| {
        move |it: &mut AgentView| {
            it.failed = Some(failure(revision, seconds, "no port"));
        }
    };
    let reason = halted_by(failed(NEW, 12)).unwrap();
    assert!(
        reason.contains("max_failed_applies") && reason.contains("agent-0: no port"),
        "{reason}"
    );
    assert_eq!(halted_by(failed(OLD, 12)), None, "another revision");
    assert_eq!(halted_by(failed(NEW, 9)), None, "before the wave");
    let down = |it: &mut AgentView| it.nginx_down = true;
    assert!(halted_by(down).unwrap().contains("nginx does not run on 1 agents: agent-0"));
    let answered = |before: (u64, u64), since: (u64, u64)| {
        let of = |(requests, responses_5xx)| Answered { requests, responses_5xx };
        move |it: &mut AgentView| {
            it.answered_before = of(before);
            it.answered_since = of(since);
        }
    };
    for (before, since, closed) in [
        ((1000, 0), (19, 19), false),
        ((1000, 0), (20, 1), false),
        ((1000, 0), (100, 5), false),
        ((1000, 0), (100, 6), true),
        ((1000, 0), (20, 2), true),
        // What was so before is not new.
        ((1000, 500), (100, 54), false),
        ((1000, 500), (100, 56), true),
        ((0, 0), (0, 0), false),
        ((0, 0), (20, 20), true),
    ] {
        let reason = halted_by(answered(before, since));
        assert_eq!(reason.is_some(), closed, "{before:?} {since:?}: {reason:?}");
    }
    // One that had the same content before proves nothing by what it answered then.
    let elder = |it: &mut AgentView| {
        answered((1000, 0), (100, 100))(it);
        it.verified_at = Some(at(4));
    };
    assert_eq!(halted_by(elder), None);
}

#[test]
fn so_many_may_fail_as_the_gate_says() {
    let mut fleet: Vec<_> = (0..4).map(agent).collect();
    let mut it = rollout(&[]);
    it.gates.max_failed_applies = 2;
    start(&mut it, &fleet, at(0));
    for number in 0..3 {
        assert!(step(&it, &fleet, at(1)).is_none(), "after {number}");
        fleet[number].failed = Some(failure(NEW, 1, &"x".repeat(10_000)));
    }
    assert_eq!(told(step(&it, &fleet, at(1)), &mut it), [Told::Halted]);
    let reason = it.reason.unwrap();
    assert!(reason.len() < 2000 && reason.contains("3 agents"), "{} bytes", reason.len());
}

#[test]
fn nothing_happens_while_it_is_paused() {
    let mut fleet: Vec<_> = (0..2).map(agent).collect();
    let mut it = rollout(&[(ids(&[0]), 0)]);
    start(&mut it, &fleet, at(0));
    it.pause();
    verify(&mut fleet[0], 1);
    fleet[0].nginx_down = true;
    assert!(step(&it, &fleet, at(100)).is_none());
    assert_eq!((serves(&it, id(0)), serves(&it, id(1))), (NEW, OLD));
}

#[test]
fn a_wave_that_gets_no_further_is_taken_back_at_its_deadline() {
    let mut fleet: Vec<_> = (0..4).map(agent).collect();
    fleet[2].connected = false;
    let mut it = rollout(&[(ids(&[0, 1, 2]), 60)]);
    it.gates.deadline_seconds = 10;
    start(&mut it, &fleet, at(0));
    assert_eq!(it.waves[0].waiting_since, Some(at(0)));
    assert!(step(&it, &fleet, at(9)).is_none());
    // Whoever gets there gives the others as long again.
    verify(&mut fleet[0], 9);
    assert!(step(&it, &fleet, at(18)).is_none());
    let halted = told(step(&it, &fleet, at(19)), &mut it);
    assert_eq!((halted.as_slice(), it.state), (&[Told::Halted][..], RolloutState::Halted));
    let reason = it.reason.unwrap();
    assert_eq!(
        reason,
        "deadline_seconds: 1 agents are not proven to serve revision 7, and for 10 \
         seconds no other agent of the wave got there; agent-1"
    );
}

#[test]
fn a_wave_waits_for_the_connected_only_and_anew_for_who_comes_back() {
    let mut fleet: Vec<_> = (0..2).map(agent).collect();
    let mut it = rollout(&[(ids(&[0, 1]), 1000)]);
    (it.gates.deadline_seconds, it.gates.max_failed_applies) = (10, 9);
    start(&mut it, &fleet, at(0));
    verify(&mut fleet[0], 1);
    fleet[1].connected = false;
    told(step(&it, &fleet, at(2)), &mut it);
    assert_eq!((it.waves[0].state, it.waves[0].waiting_since), (WaveState::Soaking, None));
    assert!(step(&it, &fleet, at(500)).is_none(), "the absent hold nothing up");
    fleet[1].connected = true;
    fleet[1].failed = Some(failure(NEW, 499, "no port"));
    assert!(told(step(&it, &fleet, at(500)), &mut it).is_empty());
    assert!(step(&it, &fleet, at(509)).is_none());
    assert_eq!(told(step(&it, &fleet, at(510)), &mut it), [Told::Halted]);
    let reason = it.reason.unwrap();
    assert!(
        reason.starts_with("deadline_seconds: ") && reason.ends_with("agent-1: no port"),
        "{reason}"
    );
}

#[test]
fn a_pause_stops_the_clock_of_a_wave() {
    let fleet = [agent(0)];
    let mut it = rollout(&[]);
    it.gates.deadline_seconds = 10;
    start(&mut it, &fleet, at(0));
    it.pause();
    assert!(step(&it, &fleet, at(1000)).is_none());
    it.state = RolloutState::Running;
    assert!(told(step(&it, &fleet, at(1000)), &mut it).is_empty());
    assert!(step(&it, &fleet, at(1009)).is_none());
    assert_eq!(told(step(&it, &fleet, at(1010)), &mut it), [Told::Halted]);
}

#[test]
fn what_was_stored_before_there_were_deadlines_has_the_usual_one() {
    let mut stored = serde_json::to_value(rollout(&[])).unwrap();
    stored["gates"].as_object_mut().unwrap().remove("deadline_seconds");
    stored["waves"][0].as_object_mut().unwrap().remove("waiting_since");
    assert_eq!(serde_json::from_value::<Rollout>(stored).unwrap(), rollout(&[]));
}

/// Something that happens to a fleet or to its rollout.
#[derive(Debug, Clone)]
enum Happens {
    Look,
    Verify(usize),
    Fail(usize),
    Leave(usize),
    Return(usize),
    Relabel(usize, usize),
    Join(usize),
    Remove(usize),
    Answer(usize, u64, u64),
    Pause,
    Resume,
    Abort,
}

fn happens() -> impl Strategy<Value = Happens> {
    let who = 0..12_usize;
    prop_oneof![
        6 => Just(Happens::Look),
        8 => who.clone().prop_map(Happens::Verify),
        1 => who.clone().prop_map(Happens::Fail),
        2 => who.clone().prop_map(Happens::Leave),
        2 => who.clone().prop_map(Happens::Return),
        2 => (who.clone(), 0..3_usize).prop_map(|(it, label)| Happens::Relabel(it, label)),
        2 => who.clone().prop_map(Happens::Join),
        1 => who.clone().prop_map(Happens::Remove),
        1 => (who, 0..100_u64, 0..10_u64).prop_map(|(it, all, bad)| Happens::Answer(it, all, bad)),
        1 => Just(Happens::Pause),
        2 => Just(Happens::Resume),
        1 => Just(Happens::Abort),
    ]
}

fn waves() -> impl Strategy<Value = Vec<(WaveAgents, u64)>> {
    let which = prop_oneof![
        (1..=100_u8).prop_map(WaveAgents::Percent),
        prop::collection::vec(0..12_usize, 1..5).prop_map(|it| ids(&it)),
        (0..3_usize).prop_map(|it| {
            WaveAgents::Selector(LabelSelector::parse(&format!("n={it}")).unwrap())
        }),
    ];
    prop::collection::vec((which, 0..5_u64), 0..4)
}

/// Agents by number, and what each of them is on: an agent verifies what it is on.
struct World {
    fleet: BTreeMap<usize, AgentView>,
    rollout: Rollout,
    now: i64,
    /// The wave that waits for an agent, and since when it is seen to.
    waits: Option<(usize, i64)>,
    /// For how long it had got no further when it was last looked at.
    waited: i64,
}

impl World {
    fn happen(&mut self, it: &Happens) {
        self.now += 1;
        let now = self.now;
        let on = |rollout: &Rollout, number: usize| serves(rollout, id(number));
        match it {
            Happens::Look => {
                let fleet: Vec<_> = self.fleet.values().cloned().collect();
                self.wait();
                self.waited = self.got_no_further_for();
                if let Some((next, _)) = step(&self.rollout, &fleet, at(now)) {
                    self.rollout = next;
                }
                self.wait();
            }
            Happens::Verify(number) => {
                let new = on(&self.rollout, *number) == NEW;
                if let Some(agent) = self.fleet.get_mut(number).filter(|it| it.connected) {
                    agent.verified = new;
                    agent.verified_at = Some(at(now));
                }
            }
            Happens::Fail(number) => {
                let new = on(&self.rollout, *number) == NEW;
                if let Some(agent) = self.fleet.get_mut(number).filter(|_| new) {
                    agent.failed = Some(failure(NEW, now, "no"));
                }
            }
            Happens::Leave(number) => self.change(*number, |it| it.connected = false),
            Happens::Return(number) => self.change(*number, |it| it.connected = true),
            Happens::Relabel(number, label) => self.change(*number, |it| {
                it.labels.insert("n".to_owned(), label.to_string());
            }),
            Happens::Join(number) => {
                self.fleet.entry(*number).or_insert_with(|| agent(*number));
            }
            Happens::Remove(number) => {
                self.fleet.remove(number);
            }
            Happens::Answer(number, all, bad) => self.change(*number, |it| {
                it.answered_since = Answered { requests: *all, responses_5xx: *all.min(bad) };
            }),
            Happens::Pause if self.rollout.state == RolloutState::Running => {
                self.rollout.pause();
                self.waits = None;
            }
            Happens::Resume if self.rollout.state == RolloutState::Paused => {
                self.rollout.state = RolloutState::Running;
            }
            Happens::Abort if self.rollout.state.is_under_way() => {
                take_back(&mut self.rollout, RolloutState::Aborted, String::new(), at(now));
            }
            Happens::Pause | Happens::Resume | Happens::Abort => {}
        }
    }

    /// Notes whether a wave is waited for.
    fn wait(&mut self) {
        if self.rollout.state != RolloutState::Running {
            return;
        }
        let wave = self.rollout.current().unwrap();
        let current = self.current();
        let awaited = |it: &AgentView| current.contains(&it.id) && it.connected && !it.verified;
        self.waits = match self.waits.filter(|it| it.0 == wave) {
            _ if !self.fleet.values().any(awaited) => None,
            None => Some((wave, self.now)),
            since => since,
        };
    }

    fn got_no_further_for(&self) -> i64 {
        let Some((_, since)) = self.waits else { return 0 };
        let current = self.current();
        let there = self.fleet.values().filter(|it| current.contains(&it.id) && it.verified);
        let last = there.filter_map(|it| it.verified_at).map(|it| it.timestamp()).max();
        self.now - last.map_or(since, |it| it.max(since))
    }

    /// The agents of the wave that is under way.
    fn current(&self) -> BTreeSet<AgentId> {
        let Some(at) = self.rollout.current() else { return BTreeSet::new() };
        let ids = |wave: &Wave| wave.members.clone().unwrap_or_default();
        let earlier: BTreeSet<_> = self.rollout.waves[..at].iter().flat_map(ids).collect();
        match &self.rollout.waves[at].members {
            Some(members) => members.iter().copied().collect(),
            None => (0..12).map(id).filter(|it| !earlier.contains(it)).collect(),
        }
    }

    fn change(&mut self, number: usize, change: impl FnOnce(&mut AgentView)) {
        self.fleet.get_mut(&number).map(change);
    }

    /// The agents that are on the new revision.
    fn reached(&self) -> BTreeSet<AgentId> {
        (0..12).map(id).filter(|it| serves(&self.rollout, *it) == NEW).collect()
    }
}

proptest! {
    #[test]
    fn nobody_outside_the_started_waves_is_given_the_revision(
        waves in waves(),
        first in prop::collection::btree_set(0..12_usize, 0..12),
        all in prop::collection::vec(happens(), 0..60),
        deadline in 3..40_u64,
    ) {
        let fleet: BTreeMap<_, _> = first.into_iter().map(|it| (it, agent(it))).collect();
        let rollout = rollout(&waves);
        let mut world = World { fleet, rollout, now: 0, waits: None, waited: 0 };
        world.rollout.gates.deadline_seconds = deadline;
        let begin: Vec<_> = world.fleet.values().cloned().collect();
        start(&mut world.rollout, &begin, at(0));
        world.wait();
        let mut reached = world.reached();
        for it in &all {
            let before = world.rollout.clone();
            world.happen(it);
            let (now, rollout) = (world.reached(), &world.rollout);
            match rollout.state {
                RolloutState::Halted | RolloutState::Aborted => {
                    prop_assert!(now.is_empty(), "taken back: {now:?}");
                    prop_assert!(rollout.reason.is_some() && rollout.ended_at.is_some());
                }
                RolloutState::Completed => prop_assert_eq!(now.len(), 12),
                RolloutState::Running | RolloutState::Paused => {
                    // Those of the started waves, decided when those were started, and nobody else.
                    let started = rollout.waves.iter().filter(|it| it.state.is_started());
                    let named: BTreeSet<_> = started
                        .clone()
                        .filter_map(|it| it.members.as_ref())
                        .flatten()
                        .copied()
                        .collect();
                    if started.clone().all(|it| it.members.is_some()) {
                        prop_assert_eq!(&now, &named);
                    }
                    prop_assert!(reached.is_subset(&now), "nobody is lost on the way");
                    // One wave at a time is under way, those before it are finished.
                    let current = rollout.current().unwrap();
                    let states = || rollout.waves.iter().map(|it| it.state);
                    prop_assert!(states().take(current).all(|it| it == WaveState::Finished));
                    prop_assert!(states().skip(current + 1).all(|it| it == WaveState::Waiting));
                }
            }
            // A wave that gets no further ends at its deadline, and not before.
            let looked = matches!(it, Happens::Look) && before.state == RolloutState::Running;
            let overdue = world.waited >= i64::try_from(deadline).unwrap();
            let halted = rollout.reason.as_deref().is_some_and(|it| it.starts_with("deadline"));
            prop_assert!(!looked || overdue || !halted, "halted after {}", world.waited);
            prop_assert!(!looked || !overdue || !rollout.state.is_under_way(), "waits for ever");
            if !before.state.is_under_way() {
                prop_assert_eq!(rollout, &before, "what is over stays as it is");
            }
            let finished = |it: &Rollout| {
                it.waves.iter().filter(|it| it.finished_at.is_some()).count()
            };
            if finished(rollout) > finished(&before) {
                let wave = &rollout.waves[finished(&before)];
                let soaked = wave.finished_at.unwrap() - wave.soaking_since.unwrap();
                let soak = i64::try_from(wave.soak_seconds).unwrap();
                prop_assert!(wave.figures.agents == 0 || soaked.num_seconds() >= soak);
                prop_assert_eq!(wave.figures.converging, 0);
            }
            reached = now;
        }
    }
}
