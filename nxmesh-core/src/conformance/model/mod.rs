//! The same random changes on several backends: whatever one answers, all must answer.

mod moves;
mod play;
mod player;

pub use self::play::play;
