//! How many connections there may be: in all, and from one host.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts connections.
#[derive(Debug)]
pub(crate) struct Admission {
    max: usize,
    max_per_host: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_host: HashMap<IpAddr, usize>,
}

/// A connection that was let in, as long as this lives.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    host: IpAddr,
}

impl Admission {
    pub(crate) fn new(max: usize, max_per_host: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            max_per_host,
            open: Mutex::default(),
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.open().total
    }

    /// Lets one more in, unless there are too many.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Arc<Admitted>> {
        let host = host(address);
        let mut open = self.open();
        let from_host = open.by_host.get(&host).copied().unwrap_or_default();
        if open.total >= self.max || from_host >= self.max_per_host {
            return None;
        }
        open.total += 1;
        open.by_host.insert(host, from_host + 1);
        drop(open);
        let admission = Arc::clone(self);
        Some(Arc::new(Admitted { admission, host }))
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut open = self.admission.open();
        open.total -= 1;
        if let Entry::Occupied(mut entry) = open.by_host.entry(self.host) {
            match *entry.get() {
                0 | 1 => drop(entry.remove()),
                count => *entry.get_mut() = count - 1,
            }
        }
    }
}

/// Who has one address of IPv6 has the 2^64 beside it too.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_host_has_its_share_and_all_together_the_whole() {
        let admission = Admission::new(3, 2);
        let admit = |address: &str| admission.admit(address.parse().unwrap());
        let (first, second) = (admit("10.0.0.1"), admit("10.0.0.1"));
        assert!(first.is_some() && second.is_some() && admit("10.0.0.1").is_none());
        let third = admit("2001:db8::1");
        assert!(third.is_some() && admit("10.0.0.2").is_none());
        drop((first, third));
        assert_eq!(admission.count(), 1);
        let rest = [admit("2001:db8::1"), admit("2001:db8::2")];
        assert!(rest.iter().all(Option::is_some));
        drop((rest, second));
        assert!(admission.open().by_host.is_empty() && admission.count() == 0);
    }

    #[test]
    fn neighbours_in_ipv6_are_one_host() {
        let admission = Admission::new(9, 1);
        let _first = admission.admit("2001:db8::1".parse().unwrap()).unwrap();
        assert!(admission.admit("2001:db8::ffff:0:0:2".parse().unwrap()).is_none());
        assert!(admission.admit("2001:db8:0:1::1".parse().unwrap()).is_some());
    }
}
