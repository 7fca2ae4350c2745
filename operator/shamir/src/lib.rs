//! Splitting a secret into shares of which some suffice, and putting it together again: Shamir over GF(2^8) with the AES
//! modulus, byte by byte, in the format of HashiCorp Vault's and sops's `shamir` packages: the points' y, and in the share's
//! last byte the x they have in common. The secret is the value at 0.
//!
//! Two use it: key groups of sops documents (`touchseal-sops`) and quorums of keyrings (`touchseal-keyring`). Not a cipher.
//! The crates that offer it multiply by tables that the secret indexes, or leave copies of shares in buffers they free; this
//! arithmetic is free of tables and of branches on secret bytes, and every buffer is overwritten.

use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

/// Splits `secret` into `count` shares of which `needed` give it back; the x of each is its place, counted from 1. `None`
/// without randomness, or for numbers that do not fit.
pub fn split(
    secret: &[u8],
    count: usize,
    needed: usize,
    random: &mut dyn CryptoRngCore,
) -> Option<Vec<Zeroizing<Vec<u8>>>> {
    let count = u8::try_from(count).ok()?;
    let degree = needed.checked_sub(1).filter(|&degree| degree >= 1 && degree < usize::from(count))?;
    let mut shares: Vec<_> =
        (0..count).map(|_| Zeroizing::new(Vec::with_capacity(secret.len() + 1))).collect();
    let mut coefficients = Zeroizing::new(vec![0; degree]);
    for &byte in secret {
        random.try_fill_bytes(&mut coefficients).ok()?;
        for (share, x) in shares.iter_mut().zip(1..) {
            let above = coefficients.iter().fold(0, |sum, &coefficient| multiply(sum ^ coefficient, x));
            share.push(above ^ byte);
        }
    }
    shares.iter_mut().zip(1..).for_each(|(share, x)| share.push(x));
    Some(shares)
}

/// Combines shares, or `None` if they cannot belong together. Wrong or too few ones of the right form give a wrong secret.
pub fn combine(shares: &[Zeroizing<Vec<u8>>]) -> Option<Zeroizing<Vec<u8>>> {
    let length = shares.first()?.len();
    if shares.len() < 2 || length < 2 || shares.iter().any(|share| share.len() != length) {
        return None;
    }
    let places: Vec<u8> = shares.iter().filter_map(|share| share.last().copied()).collect();
    let repeated = |i: usize| places.iter().take(i).any(|x| Some(x) == places.get(i));
    if places.contains(&0) || (0..places.len()).any(repeated) {
        return None;
    }
    let mut secret = Zeroizing::new(vec![0; length - 1]);
    for (share, &x) in shares.iter().zip(&places) {
        // The Lagrange basis polynomial of this share at 0; subtraction is xor.
        let weight = places
            .iter()
            .filter(|&&other| other != x)
            .fold(1, |product, &other| multiply(product, multiply(other, inverse(other ^ x))));
        for (byte, y) in secret.iter_mut().zip(share.iter()) {
            *byte ^= multiply(*y, weight);
        }
    }
    Some(secret)
}

fn multiply(a: u8, b: u8) -> u8 {
    (0..8).rev().fold(0, |sum: u8, bit| {
        let doubled = (sum << 1) ^ ((sum >> 7) * 0x1b);
        doubled ^ (((b >> bit) & 1) * a)
    })
}

/// The 254th power; of 0 it is 0, which the caller has excluded.
fn inverse(a: u8) -> u8 {
    let mut result = 1;
    for bit in (0..8).rev() {
        result = multiply(result, result);
        if 254 >> bit & 1 == 1 {
            result = multiply(result, a);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_is_the_one_of_aes() {
        // FIPS 197, section 4.2: {57} x {83} = {c1}.
        assert_eq!(multiply(0x57, 0x83), 0xc1);
        assert!((1..=255).all(|a| multiply(a, inverse(a)) == 1));
    }

    #[test]
    fn two_points_of_a_line_give_its_value_at_zero() {
        let share = |x: u8| Zeroizing::new(vec![42 ^ multiply(7, x), x]);
        assert_eq!(*combine(&[share(1), share(9)]).expect("combines"), [42]);
    }

    #[test]
    fn as_many_shares_as_needed_give_the_secret_and_fewer_do_not() {
        let secret: Vec<u8> = (0..32).collect();
        let shares = split(&secret, 5, 3, &mut rand_core::OsRng).expect("splits");
        assert!(shares.iter().zip(1..).all(|(share, x)| share.len() == 33 && share[32] == x));
        let some =
            |places: &[usize]| -> Vec<_> { places.iter().map(|&place| shares[place].clone()).collect() };
        for places in [[0, 1, 2], [4, 2, 0], [1, 3, 4]] {
            assert_eq!(*combine(&some(&places)).expect("combines"), secret);
        }
        assert_eq!(*combine(&shares).expect("combines"), secret);
        assert_ne!(*combine(&some(&[0, 1])).expect("combines"), secret);
        for (count, needed) in [(2, 1), (2, 3), (256, 2), (1, 1), (0, 0)] {
            assert!(split(&secret, count, needed, &mut rand_core::OsRng).is_none(), "{needed} of {count}");
        }
    }

    #[test]
    fn shares_that_cannot_belong_together_are_refused() {
        let share = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
        assert!(combine(&[share(&[1, 1])]).is_none(), "one share");
        assert!(combine(&[share(&[1, 1]), share(&[2, 1])]).is_none(), "the same place twice");
        assert!(combine(&[share(&[1, 1]), share(&[2, 2, 2])]).is_none(), "lengths differ");
        assert!(combine(&[share(&[1, 0]), share(&[2, 2])]).is_none(), "place 0 is the secret itself");
    }
}
