//! From model coefficients to a direction in latent space.
