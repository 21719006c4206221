//! The sums, and ranks that are threads.

use super::*;

/// Numbers whose sum depends on the order they are added in.
fn piece(index: usize, len: usize) -> Vec<f32> {
    let value = |i: usize| ((index * 7919 + i * 104_729) % 10_007) as f32 / (1 + (index * 5 + i) % 90) as f32;
    (0..len).map(value).collect()
}

fn add(sum: &mut [f32], other: &[f32]) {
    sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other);
}

/// What rank `r` of `world` makes of its own pieces of eight.
fn own_sum(rank: Rank, len: usize) -> Vec<f32> {
    let mut sum = TreeSum::default();
    for m in reading_order(rank.micro_batches()) {
        sum.push(piece(m * rank.world_size() + rank.index(), len), |sum, other| add(sum, &other));
    }
    sum.finish().unwrap()
}

/// Runs one closure a rank, each on its thread, and returns what they return, in rank order.
fn on_ranks<R: Send>(world: usize, work: impl Fn(&ThreadRank) -> R + Sync) -> Vec<R> {
    let ranks = in_process(world).unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = ranks
            .into_iter()
            .map(|rank| {
                scope.spawn({
                    let work = &work;
                    move || work(&rank)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn eight_pieces_are_added_in_one_order() {
    assert_eq!(reading_order(1), [0]);
    assert_eq!(reading_order(2), [0, 1]);
    assert_eq!(reading_order(8), [0, 4, 2, 6, 1, 5, 3, 7]);
    let p: Vec<f32> = (0..8).map(|index| piece(index, 1)[0]).collect();
    let expected = ((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7]));
    assert_eq!(own_sum(Rank::SOLO, 1), [expected]);

    let mut sum = TreeSum::default();
    let order = reading_order(8);
    order[..7].iter().for_each(|&index| sum.push(p[index], |a, b| *a += b));
    let completed = sum.before_last();
    assert_eq!(completed.len(), 3);
    assert_eq!(completed.into_iter().fold(p[7], |sum, before| before + sum), expected);
}

#[test]
fn every_world_has_the_same_sum_on_every_rank() {
    let expected = own_sum(Rank::SOLO, 300);
    for world in [1, 2, 4, 8] {
        let sums = on_ranks(world, |rank| {
            let mut sum = own_sum(Collective::rank(rank), 300);
            rank.all_reduce_sum(&mut sum).unwrap();
            sum
        });
        assert!(sums.iter().all(|sum| *sum == expected), "{world}");
    }
}

#[test]
fn values_and_messages_reach_everybody() {
    let found = on_ranks(4, |rank| {
        let own = Collective::rank(rank).index();
        let mut seen = Vec::new();
        for root in 0..4 {
            let mut values = [own as f32, -0.0];
            rank.broadcast(root, &mut values).unwrap();
            assert!(values[1].is_sign_negative());
            seen.push(values[0]);
        }
        (seen, rank.all_gather(&vec![own as u8; own]).unwrap())
    });
    let messages = vec![vec![], vec![1], vec![2, 2], vec![3, 3, 3]];
    assert!(found.iter().all(|found| *found == (vec![0.0, 1.0, 2.0, 3.0], messages.clone())));
    let solo = Solo.all_gather(&[7]).unwrap();
    assert_eq!(solo, [[7]]);
}

#[test]
fn a_rank_that_ends_is_named_to_those_who_wait() {
    let errors = on_ranks(4, |rank| {
        match Collective::rank(rank).index() {
            2 => Collective::abandon(rank, "the disk is full"),
            _ => return rank.barrier().unwrap_err().to_string(),
        }
        String::new()
    });
    assert_eq!(errors[3], "rank 2 is lost: the disk is full");
    let errors = on_ranks(2, |rank| (Collective::rank(rank).index() == 0).then(|| rank.barrier().unwrap_err()));
    assert_eq!(errors[0], Some(CollectiveError::Lost { rank: 1, reason: "it has ended".into() }));
}

#[test]
fn ranks_that_ask_for_different_things_are_told_so() {
    let errors = on_ranks(2, |rank| rank.all_reduce_sum(&mut vec![0.0; 2 + Collective::rank(rank).index()]).is_err());
    assert_eq!(errors, [true, true]);
    assert!(
        on_ranks(2, |rank| rank.all_gather(&vec![0; MAX_MESSAGE_BYTES + 1]).is_err()).iter().all(|&is_error| is_error)
    );
}

#[test]
fn worlds_divide_a_step() {
    assert!(Rank::new(7, 8).is_ok_and(|rank| rank.micro_batches() == 1 && !rank.is_rank_zero()));
    assert!(Rank::new(0, 1).is_ok_and(Rank::is_rank_zero));
    for world in [0, 3, 5, 16] {
        assert_eq!(Rank::new(0, world), Err(RankError::World { world }));
    }
    assert_eq!(Rank::new(2, 2), Err(RankError::Rank { rank: 2, world: 2 }));
}

/// Two ranks that are processes, as far as they know.
fn over_tcp<R: Send>(work: impl Fn(&TcpRank) -> R + Sync) -> Vec<R> {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let connect = |rank| {
        let timeout = std::time::Duration::from_secs(60);
        let rendezvous = Rendezvous { rank, host: "127.0.0.1".into(), port, timeout };
        rendezvous.connect(&crate::interrupt::Interrupt::none()).unwrap()
    };
    std::thread::scope(|scope| {
        let (connect, work) = (&connect, &work);
        let ranks = Rank::all(2).unwrap();
        let threads: Vec<_> = ranks.into_iter().map(|rank| scope.spawn(move || work(&connect(rank)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Looks until another rank has ended.
fn watch(rank: &dyn Collective) -> String {
    loop {
        if let Err(error) = rank.check_alive() {
            return error.to_string();
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_rank_that_ends_is_seen_by_those_who_do_not_wait_for_it() {
    for ends in [0, 1] {
        let found = over_tcp(|rank| {
            // Everybody is there, and a message that came early is no end.
            rank.all_gather(&[1]).unwrap();
            Collective::check_alive(rank).unwrap();
            assert_eq!(rank.all_gather(&[2]).unwrap(), [[2], [2]]);
            if Collective::rank(rank).index() == ends {
                Collective::abandon(rank, "the disk is full");
                return String::new();
            }
            watch(rank)
        });
        assert_eq!(found[1 - ends], format!("rank {ends} is lost: the disk is full"));
    }
    let found = over_tcp(|rank| if Collective::rank(rank).is_rank_zero() { watch(rank) } else { String::new() });
    assert_eq!(found[0], "rank 1 is lost: its connection closed: the process has ended");
    let found = on_ranks(2, |rank| if Collective::rank(rank).is_rank_zero() { watch(rank) } else { String::new() });
    assert_eq!(found[0], "rank 1 is lost: it has ended");
}

/// A rank that brings less than it said is an error for all, whatever the others brought.
#[test]
fn a_part_of_another_length_is_an_error() {
    use super::exchange::{Exchange, Operation, Payload};

    let errors = |operation: Operation, short: Payload, whole: Payload| {
        on_ranks(2, |rank| {
            let is_short = Exchange::rank(rank).index() == 1;
            rank.exchange(operation, if is_short { short.clone() } else { whole.clone() }).unwrap_err().to_string()
        })
    };
    let values = |len| Payload::Values(vec![1.0; len]);
    let expected = "rank 1 sent 2 values where 3 are needed";
    assert_eq!(errors(Operation::Sum(3), values(2), values(3)), [expected; 2]);
    let root = Operation::Broadcast { root: 1, len: 3 };
    assert_eq!(errors(root, values(2), values(0)), [expected; 2]);
    let nothing = Payload::Messages(Vec::new());
    let expected = "rank 1 sent 0 values where 3 are needed";
    assert_eq!(errors(Operation::Sum(3), nothing.clone(), values(3)), [expected; 2]);
    let message = Payload::Messages(vec![vec![1]]);
    let expected = "rank 1 sent 0 messages where 1 are needed";
    assert_eq!(errors(Operation::Gather, nothing, message.clone()), [expected; 2]);
    let two = Payload::Messages(vec![vec![1], vec![2]]);
    assert_eq!(errors(Operation::Gather, two, message), ["rank 1 sent 2 messages where 1 are needed"; 2]);
}
