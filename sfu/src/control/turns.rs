//! Turns at work that costs the processor and that anybody may ask for, such as TLS handshakes and joins.
//!
//! One address after the other has its turn, however many connections each has, so that a newcomer waits for one step of
//! somebody else's and not for all. And each address has a share of a core for it: past that its work waits, so that
//! no flood of handshakes takes the processor from calls. What a step costs is measured, not guessed. Strangers and those
//! who have shown a token are apart: whoever is in a call waits for no flood out of its own office.

use crate::clock::Clock;
use crate::config::Config;
use crate::lock::lock;
use sfu_net::cpu_time::thread_cpu_time;
use sfu_rtc::net::Neighbourhood;
use sfu_rtc::time::{Duration, Instant, Spacing};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use tokio::sync::oneshot;

/// An address may have had so much work done before its share counts: an office where all join at once.
const CREDIT: Duration = Duration::from_millis(250);
/// What a connection costs beside its turns: to accept it, to read its request, to close it.
const CONNECTION_COST: Duration = Duration::from_micros(300);
/// Addresses whose work is remembered; where there are more, those that owe nothing are forgotten.
const REMEMBERED: usize = 1_024;

/// Whose work it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Account {
    address: Neighbourhood,
    /// Whether it has shown a token, where one is asked for.
    admitted: bool,
    /// Nothing is counted.
    exempt: bool,
}

/// Whose turn it is, and who waits.
#[derive(Debug)]
pub(crate) struct Turns {
    clock: Clock,
    config: Arc<Config>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: bool,
    /// Those of whom somebody waits, the next first.
    order: VecDeque<Account>,
    waiting: HashMap<Account, VecDeque<oneshot::Sender<Turn>>>,
    /// What addresses have left to pay.
    owed: HashMap<Account, Spacing>,
    /// A task looks when the first of those who wait may go on.
    alarm: bool,
}

/// Who is next.
enum Next {
    Nobody,
    /// All who wait have had their share: not before this time.
    At(Instant),
    Now(oneshot::Sender<Turn>),
}

impl State {
    fn may_go_on_at(&self, account: Account, now: Instant, credit: Duration) -> Instant {
        self.owed.get(&account).map_or(now, |owed| owed.next(now, credit))
    }

    fn next(&mut self, now: Instant, credit: Duration) -> Next {
        let at = |account: &Account| self.may_go_on_at(*account, now, credit);
        let Some(index) = self.order.iter().position(|account| at(account) <= now) else {
            return self.order.iter().map(at).min().map_or(Next::Nobody, Next::At);
        };
        let account = self.order.remove(index).expect("found above");
        let queue = self.waiting.get_mut(&account).expect("somebody waits of each account in order");
        let next = queue.pop_front().expect("queues without anybody are removed");
        if queue.is_empty() {
            self.waiting.remove(&account);
        } else {
            self.order.push_back(account);
        }
        Next::Now(next)
    }

    fn count(&mut self, account: Account, now: Instant, cost: Duration) {
        if self.owed.len() >= REMEMBERED && !self.owed.contains_key(&account) {
            self.owed.retain(|_, owed| owed.next(now, Duration::ZERO) > now);
        }
        self.owed.entry(account).or_default().count(now, cost);
    }
}

/// A turn; the next begins when it is dropped.
#[derive(Debug)]
struct Turn(Option<Arc<Turns>>);

impl Turns {
    pub(crate) fn new(config: &Arc<Config>, clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, config: Arc::clone(config), state: Mutex::default() })
    }

    /// Of whoever comes from `ip`.
    pub(crate) fn stranger(&self, ip: IpAddr) -> Account {
        Account { address: Neighbourhood::of(ip), admitted: false, exempt: self.config.exempts(ip) }
    }

    /// Of whoever comes from `ip` with a token.
    pub(crate) fn admitted(&self, ip: IpAddr) -> Account {
        Account { admitted: true, ..self.stranger(ip) }
    }

    /// What time of work costs an address that has so many hundredths of a core.
    fn price(&self, work: Duration) -> Duration {
        work * 100 / self.config.limits.address_cpu_percent
    }

    async fn turn(self: &Arc<Self>, account: Account) -> Turn {
        let waits = {
            let mut state = lock(&self.state);
            let now = self.clock.now();
            let alone = !state.taken && state.may_go_on_at(account, now, self.price(CREDIT)) <= now;
            if alone {
                state.taken = true;
                return Turn(Some(Arc::clone(self)));
            }
            let (sender, receiver) = oneshot::channel();
            let queue = state.waiting.entry(account).or_default();
            queue.push_back(sender);
            if queue.len() == 1 {
                state.order.push_back(account);
            }
            receiver
        };
        self.hand_over();
        // A sender is dropped only with the turn that it hands over.
        waits.await.unwrap_or(Turn(None))
    }

    /// Drives `work`, each step of which is a turn of `account`.
    pub(crate) async fn drive<F: Future>(self: &Arc<Self>, account: Account, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            let turn = self.turn(account).await;
            // Not what others did to the processor meanwhile.
            let begun = thread_cpu_time();
            let step = std::future::poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
            self.count(account, thread_cpu_time() - begun);
            drop(turn);
            match step {
                Poll::Ready(output) => return output,
                Poll::Pending => woken().await,
            }
        }
    }

    /// Work for a connection begins, and with it what the connection costs beside. One that only comes and goes is not
    /// counted: those who share its address would wait for what nobody asked for.
    pub(crate) fn count_connection(&self, account: Account) {
        self.count(account, CONNECTION_COST);
    }

    fn count(&self, account: Account, work: Duration) {
        if !account.exempt {
            lock(&self.state).count(account, self.clock.now(), self.price(work));
        }
    }

    /// Gives the turn, where nobody has it, to whoever is next.
    fn hand_over(self: &Arc<Self>) {
        loop {
            let next = {
                let mut state = lock(&self.state);
                if state.taken {
                    return;
                }
                let now = self.clock.now();
                match state.next(now, self.price(CREDIT)) {
                    Next::Nobody => return,
                    Next::At(at) => {
                        if !std::mem::replace(&mut state.alarm, true) {
                            tokio::spawn(Arc::clone(self).hand_over_after(at - now));
                        }
                        return;
                    }
                    Next::Now(next) => {
                        state.taken = true;
                        next
                    }
                }
            };
            // Whoever gave up waiting drops the turn, which would hand it over in turn: here that is the next round.
            let Err(mut turn) = next.send(Turn(Some(Arc::clone(self)))) else { return };
            turn.0 = None;
            lock(&self.state).taken = false;
        }
    }

    async fn hand_over_after(self: Arc<Self>, time: Duration) {
        tokio::time::sleep(time).await;
        lock(&self.state).alarm = false;
        self.hand_over();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            lock(&turns.state).taken = false;
            turns.hand_over();
        }
    }
}

/// Waits until the task is woken by what its last step waits for.
async fn woken() {
    let mut woken = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LimitsConfig;
    use tokio::task::yield_now;

    fn ip(host: u8) -> IpAddr {
        [192, 0, 2, host].into()
    }

    fn stranger(turns: &Turns, host: u8) -> Account {
        turns.stranger(ip(host))
    }

    fn turns(address_cpu_percent: u32) -> Arc<Turns> {
        let limits = LimitsConfig { address_cpu_percent, ..LimitsConfig::default() };
        Turns::new(&Arc::new(Config { limits, ..Config::default() }), Clock::start())
    }

    #[tokio::test]
    async fn a_newcomer_waits_for_one_of_many() {
        let turns = turns(100);
        let done = Arc::new(Mutex::new(Vec::new()));
        let held = turns.turn(stranger(&turns, 1)).await;
        let mut tasks = Vec::new();
        for host in [1, 1, 1, 1, 2, 1] {
            let (turns, done) = (Arc::clone(&turns), Arc::clone(&done));
            tasks.push(tokio::spawn(async move {
                turns.drive(stranger(&turns, host), async { lock(&done).push(host) }).await;
            }));
            yield_now().await;
        }
        drop(held);
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*lock(&done), [1, 2, 1, 1, 1, 1]);
        let state = lock(&turns.state);
        assert!(!state.taken && state.order.is_empty() && state.waiting.is_empty(), "nothing is left of them");
    }

    #[tokio::test]
    async fn whoever_has_had_its_share_waits_and_others_do_not() {
        let turns = turns(20);
        let used = CREDIT + Duration::from_millis(20);
        lock(&turns.state).count(stranger(&turns, 1), turns.clock.now(), turns.price(used));
        let begun = turns.clock.now();
        let busy = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.drive(stranger(&turns, 1), async { turns.clock.now() }).await }
        });
        yield_now().await;
        turns.drive(stranger(&turns, 2), async {}).await;
        assert!(!busy.is_finished(), "another does not wait for it");
        let waited = busy.await.unwrap() - begun;
        assert!(waited >= Duration::from_millis(95), "20 ms of a fifth of a core are 100 ms: {waited:?}");
    }

    #[tokio::test]
    async fn whoever_has_a_token_waits_for_no_stranger_at_its_address() {
        let turns = turns(20);
        for _ in 0..10_000 {
            turns.count_connection(stranger(&turns, 1));
        }
        turns.drive(turns.admitted(ip(1)), async {}).await;
        assert_eq!(lock(&turns.state).owed.len(), 2, "and both are counted");
    }

    #[tokio::test]
    async fn addresses_that_are_exempt_owe_nothing() {
        let turns = turns(20);
        turns.drive(turns.stranger([127, 0, 0, 1].into()), async {}).await;
        assert!(lock(&turns.state).owed.is_empty());
        turns.drive(stranger(&turns, 1), async {}).await;
        assert_eq!(lock(&turns.state).owed.len(), 1);
    }

    #[tokio::test]
    async fn whoever_waits_for_something_else_holds_no_turn() {
        let turns = turns(100);
        let (sender, receiver) = oneshot::channel();
        let silent = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.drive(stranger(&turns, 1), receiver).await }
        });
        yield_now().await;
        assert_eq!(turns.drive(stranger(&turns, 1), async { 7 }).await, 7);
        sender.send(8).unwrap();
        assert_eq!(silent.await.unwrap(), Ok(8));
    }

    #[tokio::test]
    async fn those_who_gave_up_are_left_out() {
        let turns = turns(100);
        let held = turns.turn(stranger(&turns, 1)).await;
        for _ in 0..3 {
            let waiting = tokio::spawn({
                let turns = Arc::clone(&turns);
                async move { drop(turns.turn(stranger(&turns, 2)).await) }
            });
            yield_now().await;
            waiting.abort();
            assert!(waiting.await.is_err());
        }
        drop(held);
        drop(turns.turn(stranger(&turns, 3)).await);
        assert!(!lock(&turns.state).taken);
    }
}
