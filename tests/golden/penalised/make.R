# Writes golden.json: glmnet's Cox paths with offset, box limits, exclusions, adaptive weights and
# relaxed fits on the columns x1..x50 of ../survival/data/enet_n300_p50.csv.
# Run in this folder: Rscript make.R
suppressMessages({library(glmnet); library(survival); library(jsonlite)})
d <- read.csv("../survival/data/enet_n300_p50.csv")
x <- as.matrix(d[, paste0("x", 1:50)])
y <- Surv(d$time, d$status)
off <- 0.3 * sin(1:300) + 0.002 * (1:300)
set.seed(1)
glmnet.control(fdev = 0, devmax = 1, mnlam = 1000, epsnr = 1e-12, mxitnr = 200)
thresh <- 1e-14
keep <- function(fit, at = c(5, 15, 25)) list(
  lambda = fit$lambda, nulldev = fit$nulldev, dev_ratio = fit$dev.ratio, df = unname(fit$df),
  beta_at = at - 1,
  beta = lapply(at, function(k) { b <- as.numeric(fit$beta[, k]); i <- which(b != 0)
    list(i = I(i - 1), v = I(b[i])) }))
out <- list()
out$offset <- keep(glmnet(x, y, family = "cox", alpha = 0.5, nlambda = 25, lambda.min.ratio = 0.02,
  offset = off, thresh = thresh, maxit = 1e7))
out$offset_strata <- keep(glmnet(x, stratifySurv(y, d$stratum), family = "cox", alpha = 0.5,
  nlambda = 25, lambda.min.ratio = 0.05, offset = off, thresh = thresh, maxit = 1e7))
lower <- rep(c(-0.05, -Inf, 0, -1), length.out = 50)
upper <- rep(c(0.06, 0, Inf, 0.1, 0.02), length.out = 50)
for (a in c(1, 0.3)) {
  out[[paste0("box_alpha", a)]] <- keep(glmnet(x, y, family = "cox", alpha = a, nlambda = 25,
    lambda.min.ratio = 0.02, lower.limits = lower, upper.limits = upper, thresh = thresh, maxit = 1e7))
}
pf <- c(0, 0, rep(c(1, 2), length.out = 48)); pf[7] <- Inf
out$exclude <- keep(glmnet(x, y, family = "cox", alpha = 0.8, nlambda = 25, lambda.min.ratio = 0.02,
  penalty.factor = pf, exclude = c(3, 10, 21), thresh = thresh, maxit = 1e7))
# Adaptive weights from a ridge at lambda = 0.2, in standardised units.
ridge <- glmnet(x, y, family = "cox", alpha = 0, lambda = 0.2, thresh = thresh, maxit = 1e7)
sd0 <- apply(x, 2, function(v) sqrt(mean((v - mean(v))^2)))
w <- 1 / abs(as.numeric(ridge$beta) * sd0)^1.5
out$adaptive <- keep(glmnet(x, y, family = "cox", nlambda = 25, lambda.min.ratio = 0.01,
  penalty.factor = w, thresh = thresh, maxit = 1e7))
out$adaptive$ridge <- as.numeric(ridge$beta)
# Relaxed fits: unpenalised refits on each support.
lam <- out$offset$lambda[1:12] * 0.5
rel <- glmnet(x, y, family = "cox", alpha = 0.9, lambda = lam, thresh = thresh, maxit = 1e7, relax = TRUE)
out$relaxed <- c(keep(rel, c(2, 6, 12)), list(
  refit_lambda = rel$relaxed$lambda, refit_dev_ratio = rel$relaxed$dev.ratio,
  refit = lapply(c(2, 6, 12), function(k) { b <- as.numeric(rel$relaxed$beta[, k]); i <- which(b != 0)
    list(i = I(i - 1), v = I(b[i])) })))
cv <- cv.glmnet(x, y, family = "cox", alpha = 0.9, lambda = lam, thresh = 1e-12, maxit = 1e7,
  relax = TRUE, foldid = d$foldid, offset = off)
out$relaxed_cv <- list(lambda = cv$lambda, gamma = cv$relaxed$gamma,
  cvm = lapply(cv$relaxed$statlist, function(s) I(s$cvm)), cvsd = lapply(cv$relaxed$statlist, function(s) I(s$cvsd)),
  lambda_min = cv$relaxed$lambda.min, gamma_min = cv$relaxed$gamma.min,
  lambda_1se = cv$relaxed$lambda.1se, gamma_1se = cv$relaxed$gamma.1se)
cv <- cv.glmnet(x, y, family = "cox", alpha = 0.9, lambda = lam, thresh = 1e-12, maxit = 1e7,
  foldid = d$foldid, offset = off)
out$offset_cv <- list(lambda = cv$lambda, cvm = cv$cvm, cvsd = cv$cvsd, lambda_min = cv$lambda.min,
  lambda_1se = cv$lambda.1se)
out$made_with <- list(R = R.version.string, glmnet = as.character(packageVersion("glmnet")),
  survival = as.character(packageVersion("survival")))
write_json(out, "golden.json", digits = NA, auto_unbox = TRUE)
