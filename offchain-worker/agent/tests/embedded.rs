//! The embedded chain survives its process, shares its folder, and notices damage.

use lockstep_agent::chain::embedded::{Clock, Embedded, ENDOWMENT};
use lockstep_agent::chain::{Chain, Error};
use lockstep_agent::keys::Signer;
use std::fs;

#[test]
fn a_chain_that_is_opened_again_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let somebody = [9; 32];
    let (now, issuance) = {
        let chain = Embedded::open(dir.path(), Clock::Own).unwrap();
        chain.mint(&somebody, 12_345).unwrap();
        chain.advance(100_000).unwrap();
        (chain.now().unwrap(), chain.issuance().unwrap())
    };
    let chain = Embedded::open(dir.path(), Clock::Own).unwrap();
    assert_eq!(chain.now().unwrap(), now);
    assert_eq!(chain.issuance().unwrap(), issuance);
    assert_eq!(chain.funds(&somebody).unwrap().free, 12_345);
    assert_eq!(
        chain.funds(&Signer::dev("Alice").account()).unwrap().free,
        ENDOWMENT
    );
}

#[test]
fn two_who_share_a_folder_see_each_others_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let one = Embedded::open(dir.path(), Clock::Own).unwrap();
    let two = Embedded::open(dir.path(), Clock::Own).unwrap();
    for k in 1..=5u128 {
        one.mint(&[1; 32], 10).unwrap();
        two.mint(&[1; 32], 1).unwrap();
        assert_eq!(one.funds(&[1; 32]).unwrap().free, 11 * k);
        assert_eq!(two.funds(&[1; 32]).unwrap().free, 11 * k);
    }
    assert_eq!(one.now().unwrap(), two.now().unwrap());
}

#[test]
fn time_passes_in_blocks() {
    let chain = Embedded::in_memory(Clock::Own);
    let before = chain.now().unwrap();
    chain.advance(3_600_000).unwrap();
    let after = chain.now().unwrap();
    assert_eq!(after.time - before.time, 3_600_000);
    assert!(after.block >= before.block + 20);
}

#[test]
fn a_wall_clock_chain_follows_the_machine_and_keeps_what_was_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let chain = Embedded::open(dir.path(), Clock::Wall).unwrap();
    let before = chain.now().unwrap().time;
    chain.advance(86_400_000).unwrap();
    drop(chain);
    let after = Embedded::open(dir.path(), Clock::Wall)
        .unwrap()
        .now()
        .unwrap()
        .time;
    assert!(after >= before + 86_400_000);
    assert!(after < before + 86_400_000 + 60_000);
}

#[test]
fn a_damaged_state_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    Embedded::open(dir.path(), Clock::Own)
        .unwrap()
        .mint(&[1; 32], 5)
        .unwrap();
    let path = dir.path().join("state");
    let whole = fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bytes in [&flipped[..], &whole[..whole.len() - 1], &whole[..20], &[]] {
        fs::write(&path, bytes).unwrap();
        let opened = Embedded::open(dir.path(), Clock::Own);
        assert!(matches!(opened.err(), Some(Error::Damaged { .. })));
    }
    fs::write(&path, whole).unwrap();
    Embedded::open(dir.path(), Clock::Own).unwrap();
}

#[test]
fn a_block_that_was_not_finished_never_happened() {
    let dir = tempfile::tempdir().unwrap();
    Embedded::open(dir.path(), Clock::Own)
        .unwrap()
        .mint(&[1; 32], 5)
        .unwrap();
    // What a process killed while writing leaves behind.
    fs::write(dir.path().join("events"), b"half an event").unwrap();
    fs::write(dir.path().join("state.new"), b"half a state").unwrap();
    let chain = Embedded::open(dir.path(), Clock::Own).unwrap();
    assert_eq!(chain.funds(&[1; 32]).unwrap().free, 5);
    chain.mint(&[1; 32], 5).unwrap();
    drop(chain);
    let chain = Embedded::open(dir.path(), Clock::Own).unwrap();
    assert_eq!(chain.funds(&[1; 32]).unwrap().free, 10);
}
