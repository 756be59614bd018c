use latent_attribute::*;
use std::time::Instant;
#[test]
fn timing() {
    for (n, p) in [(240usize, 7399usize), (2000, 512), (500, 9216)] {
        let x: Vec<f32> = (0..n * p)
            .map(|i| {
                let h = (i as u64).wrapping_mul(0x9E3779B97F4A7C15);
                ((h ^ (h >> 29)).wrapping_mul(0xBF58476D1CE4E5B9) >> 40) as f32 / 16777216.0 - 0.5
            })
            .collect();
        let t = Instant::now();
        let s = Standardizer::fit(&x, n, p).unwrap();
        let map = FeatureMap::identity(p).then(s).unwrap();
        let z = map.transform(&x).unwrap();
        let t1 = t.elapsed();
        let t = Instant::now();
        let pca = PcaConfig::default()
            .with_components(50)
            .fit(&z, n, p)
            .unwrap();
        let t2 = t.elapsed();
        let map = map.then(pca).unwrap();
        let beta: Vec<f64> = (0..50)
            .map(|i| 0.05 * ((i * 7 % 11) as f64 - 5.0))
            .collect();
        let t = Instant::now();
        let risk = LatentRisk::from_cox(LatentSpace::Features { dim: p }, &beta, map).unwrap();
        let d = risk.pattern(&x, n).unwrap();
        let t3 = t.elapsed();
        let lat = &x[..p];
        let e = d.apply_hazard_ratio(lat, 0.5).unwrap();
        let hr = risk.hazard_ratio(lat, &e).unwrap();
        let w = risk.weights().unwrap();
        let e = w.apply_hazard_ratio(lat, 0.5).unwrap();
        let hr2 = risk.hazard_ratio(lat, &e).unwrap();
        let t = Instant::now();
        let reps =
            bootstrap_directions(n, 1000, 1, |rows| -> std::result::Result<Vec<f64>, Error> {
                Ok((0..p).map(|j| x[rows[j % n] * p + j] as f64).collect())
            })
            .unwrap();
        let t4 = t.elapsed();
        let t = Instant::now();
        let st = direction_stability(w.unit(), &reps, 0.95).unwrap();
        println!(
            "{n}x{p}: scale+transform {t1:?} pca {t2:?} pattern {t3:?} boot {t4:?} stab {:?} hr err {:e} {:e}\n{d}\n{st}",
            t.elapsed(),
            hr / 0.5 - 1.0,
            hr2 / 0.5 - 1.0
        );
        let b = d.to_bytes().unwrap();
        println!(
            "{} bytes; roundtrip {}",
            b.len(),
            HealthDirection::from_bytes(&b).unwrap() == d
        );
    }
}
