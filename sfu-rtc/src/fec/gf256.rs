//! The field GF(256) of the polynomial x^8 + x^4 + x^3 + x^2 + 1 (0x11d), whose element 2 is primitive. Addition is XOR.
//!
//! Nearly all the time of a Reed-Solomon code goes into [`mul_add`], one pass per parity packet over each media packet. It
//! takes 32 bytes at a time, by what the processor has:
//!
//! - GFNI (Ice Lake, Zen 4 and later): a product with a constant is linear in the bits of a byte, and there is an
//!   instruction that multiplies bytes by a matrix of bits.
//! - AVX2: two look-ups in a register, by the low and the high half of a byte (Plank, Greenan, Miller, "Screaming Fast
//!   Galois Field Arithmetic Using Intel SIMD Instructions", FAST 2013).
//! - Neither: whatever the compiler makes of plain code.

/// What a register of AVX2 holds; vectors are multiples of it.
pub(super) const LANE: usize = 32;

const POLYNOMIAL: u16 = 0x11d;
/// Powers of 2, twice, so that the sum of two logarithms needs no reduction.
const EXP: [u8; 510] = powers();
const LOG: [u8; 256] = logarithms();

const fn powers() -> [u8; 510] {
    let mut table = [0; 510];
    let (mut at, mut power) = (0, 1u16);
    while at < 510 {
        table[at] = power as u8;
        power <<= 1;
        if power > 0xff {
            power ^= POLYNOMIAL;
        }
        at += 1;
    }
    table
}

const fn logarithms() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 255 {
        table[EXP[at] as usize] = at as u8;
        at += 1;
    }
    table
}

/// Product.
pub(super) const fn mul(a: u8, b: u8) -> u8 {
    if a == 0 || b == 0 { 0 } else { EXP[LOG[a as usize] as usize + LOG[b as usize] as usize] }
}

/// Quotient of two elements that are not 0.
pub(super) const fn div(a: u8, b: u8) -> u8 {
    EXP[LOG[a as usize] as usize + 255 - LOG[b as usize] as usize]
}

/// Adds `factor` times `source` to `sum`.
#[cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "what needs an instruction may be called only where the processor has it")
)]
pub(super) fn mul_add(sum: &mut [[u8; LANE]], source: &[[u8; LANE]], factor: u8) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        if std::arch::is_x86_feature_detected!("gfni") {
            // SAFETY: the processor has GFNI and AVX2; nothing else is asked for, all in there is safe code.
            unsafe { x86::mul_add_gfni(sum, source, factor) };
        } else {
            // SAFETY: the processor has AVX2; nothing else is asked for, all in there is safe code.
            unsafe { x86::mul_add_avx2(sum, source, factor) };
        }
        return;
    }
    portable_mul_add(sum, source, factor);
}

/// By each bit of a byte the product with that bit.
fn portable_mul_add(sum: &mut [[u8; LANE]], source: &[[u8; LANE]], factor: u8) {
    if factor == 1 {
        return add(sum, source);
    }
    let products: [u8; 8] = std::array::from_fn(|bit| mul(factor, 1 << bit));
    for (s, &byte) in sum.as_flattened_mut().iter_mut().zip(source.as_flattened()) {
        for (bit, product) in products.iter().enumerate() {
            *s ^= if byte & (1 << bit) == 0 { 0 } else { *product };
        }
    }
}

/// Inlined, so that it takes the vectors that its caller may use.
#[inline(always)]
fn add(sum: &mut [[u8; LANE]], source: &[[u8; LANE]]) {
    sum.as_flattened_mut().iter_mut().zip(source.as_flattened()).for_each(|(s, byte)| *s ^= byte);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANE, add, mul};
    use std::arch::x86_64::{
        __m256i, _mm256_and_si256, _mm256_extract_epi64, _mm256_gf2p8affine_epi64_epi8, _mm256_set_epi64x,
        _mm256_set1_epi8, _mm256_set1_epi64x, _mm256_shuffle_epi8, _mm256_srli_epi64, _mm256_xor_si256,
    };

    /// For each factor its matrix: the byte for bit 7 of the product comes first, from the lowest; in it, the bits that
    /// are summed.
    static MATRICES: [u64; 256] = matrices();
    /// For each factor its products with the low halves of a byte, twice, then with the high halves, twice: a register
    /// looks up in each of its own halves.
    static PRODUCTS: [[[u8; LANE]; 2]; 256] = products();

    const fn matrices() -> [u64; 256] {
        let mut table = [0; 256];
        let mut at = 0;
        while at < 256 * 64 {
            let (factor, out, bit) = (at / 64, at / 8 % 8, at % 8);
            let product = mul(factor as u8, 1 << bit);
            table[factor] |= ((product >> out & 1) as u64) << (8 * (7 - out) + bit);
            at += 1;
        }
        table
    }

    const fn products() -> [[[u8; LANE]; 2]; 256] {
        let mut table = [[[0; LANE]; 2]; 256];
        let mut at = 0;
        while at < 256 * LANE {
            let (factor, place) = (at / LANE, at % LANE);
            let half = (place % 16) as u8;
            table[factor][0][place] = mul(factor as u8, half);
            table[factor][1][place] = mul(factor as u8, half << 4);
            at += 1;
        }
        table
    }

    #[target_feature(enable = "gfni,avx2")]
    pub(super) fn mul_add_gfni(sum: &mut [[u8; LANE]], source: &[[u8; LANE]], factor: u8) {
        if factor == 1 {
            return add(sum, source);
        }
        let matrix = _mm256_set1_epi64x(MATRICES[usize::from(factor)] as i64);
        for (s, bytes) in sum.iter_mut().zip(source) {
            let product = _mm256_gf2p8affine_epi64_epi8::<0>(load(bytes), matrix);
            store(s, _mm256_xor_si256(load(s), product));
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn mul_add_avx2(sum: &mut [[u8; LANE]], source: &[[u8; LANE]], factor: u8) {
        if factor == 1 {
            return add(sum, source);
        }
        let [low, high] = PRODUCTS[usize::from(factor)].each_ref().map(|table| load(table));
        let half = _mm256_set1_epi8(0x0f);
        for (s, bytes) in sum.iter_mut().zip(source) {
            let bytes = load(bytes);
            let of_low = _mm256_shuffle_epi8(low, _mm256_and_si256(bytes, half));
            let of_high = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi64::<4>(bytes), half));
            store(s, _mm256_xor_si256(load(s), _mm256_xor_si256(of_low, of_high)));
        }
    }

    /// Compiles to one load; without a pointer, so that it is safe.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8; LANE]) -> __m256i {
        let (words, _) = bytes.as_chunks::<8>();
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| i64::from_le_bytes(words[at]));
        _mm256_set_epi64x(d, c, b, a)
    }

    /// Compiles to one store.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(bytes: &mut [u8; LANE], value: __m256i) {
        let (words, _) = bytes.as_chunks_mut::<8>();
        words[0] = _mm256_extract_epi64::<0>(value).to_le_bytes();
        words[1] = _mm256_extract_epi64::<1>(value).to_le_bytes();
        words[2] = _mm256_extract_epi64::<2>(value).to_le_bytes();
        words[3] = _mm256_extract_epi64::<3>(value).to_le_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Multiplication as it is defined: of polynomials, reduced.
    fn by_definition(a: u8, b: u8) -> u8 {
        let (mut product, mut shifted) = (0u16, u16::from(a));
        for bit in 0..8 {
            if b >> bit & 1 == 1 {
                product ^= shifted;
            }
            shifted <<= 1;
            if shifted > 0xff {
                shifted ^= POLYNOMIAL;
            }
        }
        product as u8
    }

    #[test]
    fn multiplies_and_divides_by_definition() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(mul(a, b), by_definition(a, b));
                if a != 0 && b != 0 {
                    assert_eq!(div(mul(a, b), b), a);
                }
            }
        }
    }

    /// Every way to do it that this processor has.
    #[cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "each is called where its instructions are"))]
    fn all_ways(sum: &[[u8; LANE]], source: &[[u8; LANE]], factor: u8) -> Vec<Vec<[u8; LANE]>> {
        let mut results = vec![sum.to_vec(), sum.to_vec()];
        mul_add(&mut results[0], source, factor);
        portable_mul_add(&mut results[1], source, factor);
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            results.push(sum.to_vec());
            // SAFETY: the processor has AVX2.
            unsafe { x86::mul_add_avx2(&mut results[2], source, factor) };
        }
        results
    }

    proptest! {
        #[test]
        fn vectors_are_multiplied_byte_by_byte(
            source in proptest::collection::vec(any::<[u8; LANE]>(), 0..6), factor: u8, start: u8,
        ) {
            let expected: Vec<_> = source.iter().map(|lane| lane.map(|byte| start ^ mul(byte, factor))).collect();
            for result in all_ways(&vec![[start; LANE]; source.len()], &source, factor) {
                prop_assert_eq!(&result, &expected);
            }
        }
    }
}
