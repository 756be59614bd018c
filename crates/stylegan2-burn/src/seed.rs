//! numpy's legacy random generator, so that "seed 85" is the face everybody knows.
//!
//! MT19937 (Matsumoto and Nishimura 1998) seeded by one 32-bit number, 53-bit uniforms from two
//! words, and Marsaglia's polar method, in the order numpy's `RandomState` consumes them.

use burn::tensor::{Device, Tensor, TensorData};

const N: usize = 624;
const M: usize = 397;

/// `numpy.random.RandomState(seed)`: the Mersenne Twister with the legacy Gaussian.
#[derive(Clone, Debug)]
pub struct RandomState {
    state: Box<[u32; N]>,
    index: usize,
    spare: Option<f64>,
}

impl RandomState {
    /// Seeds the generator.
    pub fn new(seed: u32) -> Self {
        let mut state = Box::new([0_u32; N]);
        state[0] = seed;
        for i in 1..N {
            let previous = state[i - 1];
            #[allow(clippy::cast_possible_truncation)]
            let step = i as u32;
            state[i] = 1_812_433_253_u32
                .wrapping_mul(previous ^ (previous >> 30))
                .wrapping_add(step);
        }
        Self {
            state,
            index: N,
            spare: None,
        }
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.index == N {
            self.twist();
        }
        let mut y = self.state[self.index];
        self.index += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.index = 0;
    }

    /// A uniform draw from [0, 1) with 53 bits (`rand`).
    pub fn uniform(&mut self) -> f64 {
        let a = f64::from(self.next_u32() >> 5);
        let b = f64::from(self.next_u32() >> 6);
        (a * 67_108_864.0 + b) / 9_007_199_254_740_992.0
    }

    /// A standard normal draw (`randn`).
    pub fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let x1 = 2.0 * self.uniform() - 1.0;
            let x2 = 2.0 * self.uniform() - 1.0;
            let r2 = x1 * x1 + x2 * x2;
            if r2 < 1.0 && r2 > 0.0 {
                let f = (-2.0 * r2.ln() / r2).sqrt();
                self.spare = Some(f * x1);
                return f * x2;
            }
        }
    }

    /// `count` standard normal draws (`randn(count)`).
    pub fn randn(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.normal()).collect()
    }
}

/// The latent of each seed: `RandomState(seed).randn(1, z_dim)`, rounded to single precision.
///
/// # Shapes
///
/// - output: `[seeds, z_dim]`
pub fn latents(seeds: &[u32], z_dim: usize, device: &Device) -> Tensor<2> {
    #[allow(clippy::cast_possible_truncation)]
    let values: Vec<f32> = seeds
        .iter()
        .flat_map(|&seed| RandomState::new(seed).randn(z_dim))
        .map(|v| v as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, [seeds.len(), z_dim]), device)
}
