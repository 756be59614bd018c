//! LPIPS' trunks as feature networks for the metrics of generators.

use burn::tensor::Tensor;
use stylegan2_burn::metrics::FeatureNetwork;

use super::Lpips;

impl FeatureNetwork for Lpips {
    /// The mean over the pixels of the last layer's activations: 256 values for AlexNet, 512 for
    /// VGG16 and SqueezeNet. The earlier layers would add dimensions faster than small sets of images can fill.
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        let last = self.activations(images).pop().expect("a layer at least");
        let [n, c, _, _] = last.dims();
        last.mean_dim(3).mean_dim(2).reshape([n, c])
    }

    fn name(&self) -> &str {
        self.trunk().name()
    }
}
