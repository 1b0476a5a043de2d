use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;

use super::*;

fn account(name: &str) -> AccountId {
    AccountId::parse(name).unwrap()
}

fn poll<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Room at once, or panics.
fn now(room: &Arc<Room>, of: &str, bytes: usize) -> Held {
    let of = account(of);
    match poll(pin!(room.hold(&of, bytes))) {
        Poll::Ready(held) => held.expect("few are waiting"),
        Poll::Pending => panic!("{of} has to wait for {bytes}"),
    }
}

#[test]
fn one_account_cannot_take_all_the_room() {
    let room = Room::new(100);
    let mut held = Vec::new();
    let loud = account("loud");
    while let Poll::Ready(Some(more)) = poll(pin!(room.hold(&loud, 10))) {
        held.push(more);
    }
    assert_eq!(held.len(), 5, "alone it gets half");
    let _quiet = now(&room, "quiet", 30);
}

#[test]
fn the_waiting_are_let_in_when_room_is_given_back() {
    let room = Room::new(100);
    let first = now(&room, "a", 60);
    let b = account("b");
    let mut waits = pin!(room.hold(&b, 60));
    assert!(poll(waits.as_mut()).is_pending());
    // A small one does not overtake it.
    let c = account("c");
    let mut small = pin!(room.hold(&c, 1));
    assert!(poll(small.as_mut()).is_pending());
    drop(first);
    assert!(poll(waits.as_mut()).is_ready());
    assert!(poll(small.as_mut()).is_ready());
    assert_eq!(room.lock().bytes, 0, "and gave it back");
}

#[test]
fn those_that_wait_for_their_own_account_hold_nobody_up() {
    let room = Room::new(100);
    let _first = now(&room, "loud", 50);
    let loud = account("loud");
    let mut waits = pin!(room.hold(&loud, 10));
    assert!(poll(waits.as_mut()).is_pending());
    let _quiet = now(&room, "quiet", 10);
}

#[test]
fn one_that_gave_up_waiting_leaks_nothing() {
    let room = Room::new(100);
    let first = now(&room, "a", 100);
    {
        let b = account("b");
        let mut waits = pin!(room.hold(&b, 10));
        assert!(poll(waits.as_mut()).is_pending());
    }
    drop(first);
    let taken = room.lock();
    assert_eq!((taken.bytes, taken.by_account.len(), taken.waiting.len()), (0, 0, 0));
}

#[test]
fn more_than_there_is_gets_everything() {
    let room = Room::new(100);
    assert_eq!(now(&room, "a", 1_000).bytes, 100);
}

#[test]
fn beyond_the_most_that_may_wait_nobody_waits() {
    let room = Room::new(10);
    let _first = now(&room, "a", 10);
    let b = account("b");
    let mut waiting = Vec::new();
    for _ in 0..WAITING_MAX {
        let mut waits = Box::pin(room.hold(&b, 1));
        assert!(poll(waits.as_mut()).is_pending());
        waiting.push(waits);
    }
    assert!(matches!(poll(pin!(room.hold(&b, 1))), Poll::Ready(None)));
}

#[test]
fn what_is_known_better_is_counted_at_once() {
    let room = Room::new(100);
    let mut held = now(&room, "a", 40);
    held.resize(10);
    assert_eq!(room.lock().bytes, 10);
    held.resize(120);
    assert_eq!(room.lock().bytes, 120, "what exists is counted, even over the bound");
    drop(held);
    assert_eq!(room.lock().bytes, 0);
}

proptest! {
    #[test]
    fn the_room_is_never_exceeded_and_ends_empty(steps in prop::collection::vec((0..4usize, 1..60usize, any::<prop::sample::Index>()), 1..60)) {
        let room = Room::new(100);
        let names = ["a", "b", "c", "d"].map(account);
        let mut held = Vec::new();
        for (who, bytes, drops) in steps {
            match poll(pin!(room.hold(&names[who], bytes))) {
                Poll::Ready(got) => held.push(got.unwrap()),
                Poll::Pending if !held.is_empty() => drop(held.swap_remove(drops.index(held.len()))),
                Poll::Pending => prop_assert!(false, "nothing is held, and yet there is no room"),
            }
            prop_assert!(room.lock().bytes <= 100);
        }
        drop(held);
        let taken = room.lock();
        prop_assert_eq!((taken.bytes, taken.by_account.len()), (0, 0));
    }
}
