//! Whether something grows: a line through samples, and how sure it is.

/// Neighbours depend on each other, so their means are looked at, of so many
/// blocks.
const BLOCKS: usize = 12;
/// Student's t of a two-sided interval of 99% with `BLOCKS` - 2 degrees of freedom.
const T: f64 = 3.169;

/// How much a quantity grows per unit of time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Slope {
    /// The best guess.
    pub(crate) rate: f64,
    /// In 99 of 100 cases the truth is no farther away.
    pub(crate) within: f64,
}

impl Slope {
    /// The slope of `(time, value)`, in order of time; None if there are too few.
    pub(crate) fn of(samples: &[(f64, f64)]) -> Option<Self> {
        let size = samples.len() / BLOCKS;
        if size == 0 {
            return None;
        }
        // What is over was sampled while things were still warming up.
        let samples = &samples[samples.len() - size * BLOCKS..];
        let means: Vec<(f64, f64)> = samples.chunks(size).map(mean).collect();
        let (time, value) = mean(&means);
        let sum = |of: &dyn Fn(&(f64, f64)) -> f64| means.iter().map(of).sum::<f64>();
        let spread = sum(&|(t, _)| (t - time).powi(2));
        let rate = sum(&|(t, v)| (t - time) * (v - value)) / spread;
        let rest = sum(&|(t, v)| (v - value - rate * (t - time)).powi(2));
        let error = (rest / (BLOCKS - 2) as f64 / spread).sqrt();
        Some(Self {
            rate,
            within: T * error,
        })
    }

    /// Whether it grows, as far as anybody can tell.
    pub(crate) fn grows(self) -> bool {
        self.within < self.rate
    }
}

fn mean(samples: &[(f64, f64)]) -> (f64, f64) {
    let count = samples.len() as f64;
    let sum = samples
        .iter()
        .fold((0.0, 0.0), |sum, s| (sum.0 + s.0, sum.1 + s.1));
    (sum.0 / count, sum.1 / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Samples around a line of this slope: the noise has no trend.
    fn around(rate: f64) -> Vec<(f64, f64)> {
        let noise = |n: u32| f64::from(n.wrapping_mul(2_654_435_761) >> 24) / 256.0 - 0.5;
        let sample = |n| (f64::from(n), rate * f64::from(n) + 10.0 * noise(n));
        (0..240).map(sample).collect()
    }

    #[test]
    fn a_trend_is_told_from_noise() {
        let none = Slope::of(&around(0.0)).unwrap();
        assert!(!none.grows(), "{none:?}");
        let some = Slope::of(&around(0.1)).unwrap();
        assert!(
            some.grows() && (some.rate - 0.1).abs() < some.within,
            "{some:?}"
        );
        assert!(!Slope::of(&around(-0.1)).unwrap().grows());
    }

    #[test]
    fn few_samples_tell_nothing() {
        assert_eq!(Slope::of(&around(1.0)[..BLOCKS - 1]), None);
    }
}
