//! Cutting a face out of a photo, as generators of faces are trained on it.
//!
//! The square of the FFHQ data set around eyes and mouth, drawn with any number of pixels; photos
//! whose face cannot be relied on are set aside with the reason, never guessed at.

mod canvas;
mod draw;
mod landmarks;
mod quad;
mod reason;
mod settings;
mod sharpness;

use std::fmt;

use burn::tensor::Device;

pub use landmarks::Landmarks;
pub use quad::Quad;
pub use reason::{Reason, SetAside};
pub use settings::{AlignSettings, Choice};

use crate::device::guarded;
use crate::error::Result;
use crate::face::{Face, FaceDetector};
use crate::photo::Photo;
use canvas::Canvas;

/// What decides whether a face is taken; absent where it was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measures {
    /// The distance between the eyes, in pixels of the photo.
    pub eye_distance: Option<f64>,
    /// The variance of the Laplacian of the brightness over the variance of the brightness, on the
    /// inner face drawn with 128 pixels.
    pub sharpness: Option<f64>,
    /// The estimated angle to a side, in degrees.
    pub yaw: Option<f64>,
    /// The share of its side by which the square leaves the photo.
    pub beyond: Option<f64>,
}

/// A face cut out of a photo.
#[derive(Clone, Debug)]
pub struct Alignment {
    /// The picture: square, of the size asked for.
    pub picture: Photo,
    /// The face, if it was searched for.
    pub face: Option<Face>,
    /// The points that place it.
    pub landmarks: Landmarks,
    /// Where the picture lies in the photo.
    pub quad: Quad,
    /// What was measured.
    pub measures: Measures,
}

impl Alignment {
    /// The place in the photo of a point of the picture; pixel centres are whole numbers.
    pub fn to_photo(&self, point: [f64; 2]) -> [f64; 2] {
        self.quad.to_photo(point, self.picture.width())
    }

    /// The place in the picture of a point of the photo.
    pub fn to_aligned(&self, point: [f64; 2]) -> [f64; 2] {
        self.quad.to_aligned(point, self.picture.width())
    }
}

impl fmt::Display for Alignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.picture.width();
        write!(
            f,
            "{size} x {size} pixels from a square of {:.1}, eyes {:.1} apart",
            self.quad.side(),
            self.landmarks.eye_distance()
        )
    }
}

/// Finds the face of a photo and cuts it out.
///
/// ```
/// use burn::tensor::Device;
/// use latent_inversion::Photo;
/// use latent_inversion::align::{AlignSettings, Aligner, Reason};
///
/// let aligner = Aligner::new(AlignSettings::default().with_size(64), &Device::default())?;
/// let wall = Photo::from_rgb(80, 80, vec![200; 80 * 80 * 3])?;
/// let set_aside = aligner.align(&wall)?.unwrap_err();
/// assert_eq!(set_aside.reason, Reason::NoFace);
/// # Ok::<(), latent_inversion::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Aligner {
    settings: AlignSettings,
    detector: FaceDetector,
}

impl Aligner {
    /// With the detector that is part of this crate.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`](crate::Error::Argument) if a setting is out of its range.
    pub fn new(settings: AlignSettings, device: &Device) -> Result<Self> {
        settings.check()?;
        let detector = FaceDetector::new(device)?.with_settings(settings.detector.clone())?;
        Ok(Self { settings, detector })
    }

    /// The settings.
    pub fn settings(&self) -> &AlignSettings {
        &self.settings
    }

    /// Finds the face and cuts it out, or says why not.
    ///
    /// # Errors
    ///
    /// Those of [`FaceDetector::detect`]; a photo that is set aside is no error.
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) if the device's memory is full: fewer photos at the
    /// same time may fit.
    pub fn align(&self, photo: &Photo) -> Result<Result<Alignment, Box<SetAside>>> {
        let faces = guarded(|| self.detector.detect(photo))?;
        let Some(face) = faces.first() else {
            return Ok(Err(aside(Reason::NoFace, None)));
        };
        let rivals = |other: &&Face| other.side() >= self.settings.similar * face.side();
        let count = faces.iter().filter(rivals).count();
        if count > 1 && self.settings.choice == Choice::Only {
            let reason = Reason::SeveralFaces { count };
            return Ok(Err(aside(reason, Some(face))));
        }
        Ok(match Landmarks::from_five(face.landmarks) {
            Ok(landmarks) => self.cut(photo, landmarks, Some(face)),
            // The networks saw a face but put its parts where none can be.
            Err(_) => Err(aside(Reason::NoFace, Some(face))),
        })
    }

    /// Cuts out the face at landmarks from elsewhere, or says why not.
    ///
    /// # Errors
    ///
    /// Boxed: the photo is set aside.
    pub fn align_at(
        &self,
        photo: &Photo,
        landmarks: Landmarks,
    ) -> Result<Alignment, Box<SetAside>> {
        self.cut(photo, landmarks, None)
    }

    fn cut(
        &self,
        photo: &Photo,
        landmarks: Landmarks,
        face: Option<&Face>,
    ) -> Result<Alignment, Box<SetAside>> {
        let settings = &self.settings;
        let mut measures = Measures::default();
        let refuse = |reason: Reason, measures: Measures| {
            Err(Box::new(SetAside {
                reason,
                face: face.cloned(),
                landmarks: Some(landmarks),
                measures,
            }))
        };
        let [left, right, ..] = landmarks.points();
        let outside = |[x, y]: [f64; 2]| {
            x < -0.5
                || y < -0.5
                || x > photo.width() as f64 - 0.5
                || y > photo.height() as f64 - 0.5
        };
        if outside(left) || outside(right) {
            let reason = format!(
                "an eye is outside the photo of {} x {} pixels",
                photo.width(),
                photo.height()
            );
            return refuse(Reason::Landmarks { reason }, measures);
        }
        let eye_distance = landmarks.eye_distance();
        let least = settings.min_eye_distance();
        measures.eye_distance = Some(eye_distance);
        measures.yaw = Some(landmarks.yaw());
        let quad = Quad::around(&landmarks);
        let share = Canvas::beyond(photo, &quad);
        measures.beyond = Some(share);
        if eye_distance < least {
            let reason = Reason::TooSmall {
                eye_distance,
                least,
            };
            return refuse(reason, measures);
        }
        let (yaw, most) = (landmarks.yaw(), settings.max_yaw);
        if yaw.abs() > most {
            return refuse(Reason::TurnedAway { yaw, most }, measures);
        }
        let most = settings.max_beyond;
        if share > most {
            return refuse(Reason::BeyondPhoto { share, most }, measures);
        }
        let sharpness = sharpness::sharpness(photo, &quad);
        measures.sharpness = Some(sharpness);
        let least = settings.min_sharpness;
        if sharpness < least {
            return refuse(Reason::TooBlurred { sharpness, least }, measures);
        }
        Ok(Alignment {
            picture: draw::draw(
                &Canvas::cut(photo, &quad, settings.size),
                &quad,
                settings.size,
            ),
            face: face.cloned(),
            landmarks,
            quad,
            measures,
        })
    }
}

/// The square drawn with `size` pixels, or none if it leaves the photo by more than half of its side or is none.
#[cfg(any(feature = "age-sex", feature = "identity"))]
pub(crate) fn square(photo: &Photo, quad: &Quad, size: usize) -> Option<Photo> {
    const MOST: f64 = 0.5;
    let side = quad.side();
    let sound = side.is_finite() && side > 1e-6 && Canvas::beyond(photo, quad) <= MOST;
    sound.then(|| draw::draw(&Canvas::cut(photo, quad, size), quad, size))
}

fn aside(reason: Reason, face: Option<&Face>) -> Box<SetAside> {
    Box::new(SetAside {
        reason,
        landmarks: face.and_then(|f| Landmarks::from_five(f.landmarks).ok()),
        face: face.cloned(),
        measures: Measures::default(),
    })
}
