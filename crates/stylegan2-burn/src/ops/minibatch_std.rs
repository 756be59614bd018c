//! The minibatch standard deviation of the discriminator's last block.

use crate::tangent::Dual;

/// Appends `features` maps with the mean standard deviation over groups of samples.
///
/// With $G = \min(\text{group}, N)$ (`None` is $N$), sample $n$ belongs to group
/// $n \bmod (N/G)$; per group $\sigma = \sqrt{\mathrm{var}_G(x) + 10^{-8}}$ (biased variance) is
/// averaged over each of `features` slices of the channels and over the pixels (Karras et al.
/// 2018, section 3).
///
/// # Shapes
///
/// - x: `[N, C, H, W]`
/// - output: `[N, C + features, H, W]`
///
/// # Panics
///
/// Panics if the group size does not divide `N`, or `features` does not divide `C`.
pub fn minibatch_std(x: Dual<4>, group: Option<usize>, features: usize) -> Dual<4> {
    let [n, c, h, w] = x.dims();
    let g = group.map_or(n, |g| g.min(n));
    assert!(
        g > 0 && n % g == 0,
        "batch of {n} is not a multiple of the group size {g}"
    );
    assert!(
        features > 0 && c % features == 0,
        "{c} channels in {features} slices"
    );

    let grouped = x
        .clone()
        .linear(|t| t.reshape([g, n / g, features, c / features, h * w]));
    let mean = grouped.clone().linear(|t| t.mean_dim(0).neg());
    let centred = grouped.plus(mean);
    let std = centred
        .clone()
        .times(centred)
        .linear(|t| t.mean_dim(0))
        .sqrt(1e-8); // [1, N/G, F, C/F, HW]
    let map = std.linear(|t| {
        t.mean_dim(4)
            .mean_dim(3)
            .reshape([1, n / g, features, 1, 1])
            .expand([g, n / g, features, h, w])
            .reshape([n, features, h, w])
    });
    Dual::cat(vec![x, map], 1)
}
