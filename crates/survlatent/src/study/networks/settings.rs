//! What a study file says about networks.

use serde::{Deserialize, Serialize};

use super::super::models::ModelKind;
use crate::error::{Error, Result};

/// A convolutional network from pixels to one log risk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum PhotoNetwork {
    /// ResNet-18: K. He, X. Zhang, S. Ren, J. Sun, Deep residual learning for image recognition, CVPR
    /// 2016, table 1 and section 3.3 (projections where the size changes), 11.18 million parameters
    /// before its last layer.
    Resnet18,
    /// VGG-16: K. Simonyan, A. Zisserman, Very deep convolutional networks for large-scale image
    /// recognition, ICLR 2015, table 1, column D: its 13 convolutions, 14.71 million parameters.
    Vgg16,
}

impl PhotoNetwork {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Resnet18, Self::Vgg16];

    /// The name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Resnet18 => "resnet18",
            Self::Vgg16 => "vgg16",
        }
    }

    /// The model of the photos alone.
    pub fn model(self) -> ModelKind {
        match self {
            Self::Resnet18 => ModelKind::Resnet18,
            Self::Vgg16 => ModelKind::Vgg16,
        }
    }

    /// The model of its log risk and the clinical covariates.
    pub fn fusion(self) -> ModelKind {
        match self {
            Self::Resnet18 => ModelKind::Resnet18Fusion,
            Self::Vgg16 => ModelKind::Vgg16Fusion,
        }
    }
}

/// How networks are trained: the table `[models.training]`.
///
/// | key | default | |
/// |---|---|---|
/// | `epochs` | 30 | passes over the training photos, at most |
/// | `patience` | 5 | epochs without a lower held-out loss before it stops; 0: all epochs on all training photos |
/// | `batch` | 32 | photos per step; the risk sets are those of the batch |
/// | `learning_rate` | 0.0002 | of Adam |
/// | `weight_decay` | 0.01 | decoupled from the gradient |
/// | `side` | the faces' side, at most 224 | side of the pictures in pixels |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkTraining {
    /// Passes over the training photos, at most.
    pub epochs: usize,
    /// With more than 0, the first inner fold of each training set is held out: training stops after
    /// so many epochs without a lower loss of those rows, and the best epoch's weights are taken.
    /// With 0 all epochs are made, on all rows.
    pub patience: usize,
    /// Photos per step.
    pub batch: usize,
    /// Learning rate of Adam.
    pub learning_rate: f64,
    /// Decay of weights per step, times the learning rate.
    pub weight_decay: f64,
    /// Side of the pictures in pixels, no larger than the photos' faces.
    pub side: Option<usize>,
}

impl Default for NetworkTraining {
    fn default() -> Self {
        Self {
            epochs: 30,
            patience: 5,
            batch: 32,
            learning_rate: 2e-4,
            weight_decay: 1e-2,
            side: None,
        }
    }
}

impl NetworkTraining {
    /// The least side of a picture.
    pub const LEAST_SIDE: usize = 16;

    /// Refuses values out of their range.
    ///
    /// # Errors
    /// [`Error::Study`] with the key.
    pub fn validate(&self) -> Result<()> {
        let least = Self::LEAST_SIDE;
        let fault = if self.epochs == 0 {
            Some(("epochs", "must be at least 1".to_owned()))
        } else if self.batch < 2 {
            Some(("batch", "must be at least 2".to_owned()))
        } else if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            Some(("learning_rate", "must be positive".to_owned()))
        } else if !(self.weight_decay.is_finite() && self.weight_decay >= 0.0) {
            Some(("weight_decay", "must not be negative".to_owned()))
        } else if self.side.is_some_and(|side| side < least) {
            Some(("side", format!("must be at least {least}")))
        } else {
            None
        };
        match fault {
            None => Ok(()),
            Some((key, expected)) => Err(Error::Study {
                reason: format!("models.training.{key} {expected}"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::study::StudyFile;

    #[test]
    fn faults_name_the_key() {
        let of = |pair: &str| {
            let text = "[data]\ntable = 't.csv'\nphotos = 'p'\n[models]\nnetworks = ['resnet18']\n";
            let set = format!("models.training.{pair}");
            StudyFile::parse(text, &[set]).map_err(|e| e.to_string())
        };
        assert_eq!(of("epochs=3").unwrap().models.training.epochs, 3);
        for (pair, key) in [
            ("epochs=0", "epochs"),
            ("batch=1", "batch"),
            ("learning_rate=0", "learning_rate"),
            ("learning_rate=nan", "learning_rate"),
            ("weight_decay=-1", "weight_decay"),
            ("side=8", "side"),
        ] {
            let error = match of(pair) {
                Ok(study) => study.study().models.training.validate().unwrap_err(),
                Err(error) => panic!("{pair}: {error}"),
            };
            let error = error.to_string();
            assert!(error.contains(&format!("models.training.{key}")), "{error}");
        }
        assert!(of("epoch=3").unwrap_err().contains("epoch"));
        let wrong = "[data]\ntable = 't.csv'\n[models]\nnetworks = ['resnet50']\n";
        let error = StudyFile::parse(wrong, &[]).unwrap_err().to_string();
        assert!(
            error.contains("resnet50") && error.contains("line 4"),
            "{error}"
        );
    }
}
