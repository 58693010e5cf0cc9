use super::player::Player;
use crate::store::Stores;

/// Plays this many changes, each followed by reads, on all of these, and compares all answers.
/// Answers how many were made; the others were refused.
pub async fn play(backends: &[(&str, Stores)], seed: u64, changes: usize) -> usize {
    let mut player = Player::new(seed);
    let mut made = 0;
    for number in 0..changes {
        let change = player.change();
        let answers = all(backends, async |stores| change.apply(stores).await).await;
        compare(&answers, || format!("seed {seed}, change {number}: {change:?}"));
        let done = answers[0].1.starts_with("Ok");
        made += usize::from(done);
        player.learn(&change, done);
        for _ in 0..3 {
            let read = player.read();
            let answers = all(backends, async |stores| read.apply(stores).await).await;
            compare(&answers, || format!("seed {seed}, read {read:?} after {number}: {change:?}"));
        }
    }
    for read in player.everything() {
        let answers = all(backends, async |stores| read.apply(stores).await).await;
        compare(&answers, || format!("seed {seed}, at the end: {read:?}"));
    }
    made
}

async fn all<'a>(
    backends: &[(&'a str, Stores)],
    ask: impl AsyncFn(&Stores) -> String,
) -> Vec<(&'a str, String)> {
    let mut answers = Vec::new();
    for (name, stores) in backends {
        answers.push((*name, ask(stores).await));
    }
    answers
}

fn compare(answers: &[(&str, String)], what: impl Fn() -> String) {
    let (first, expected) = &answers[0];
    for (name, answer) in &answers[1..] {
        assert_eq!(answer, expected, "{name} and {first} differ: {}", what());
    }
}
