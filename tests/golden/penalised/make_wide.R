# Writes wide.json: glmnet's Cox paths with more columns than rows, and the data.
# The columns are made from a formula with two decimals, so that every program reads the same numbers.
# Run in this folder: Rscript make_wide.R
suppressMessages({library(glmnet); library(survival); library(jsonlite)})
n <- 60; p <- 100
i <- rep(1:n, times = p); j <- rep(1:p, each = n)
x <- matrix(round(2 * sin(1.3 * i * i + 7.7 * j + 0.37 * i * j) + cos(0.9 * i * (j %% 7)), 2), n, p)
eta <- 0.8 * x[, 1] - 0.6 * x[, 2] + 0.4 * x[, 3]
u <- (((1:n) * 37) %% 61 + 0.5) / 61
time <- round(-log(u) * exp(-eta) * 10 + 0.05, 2)
status <- as.integer((1:n) %% 4 != 1)
weights <- rep(c(1, 0.5, 2), length.out = n)
y <- Surv(time, status)
glmnet.control(fdev = 0, devmax = 1, mnlam = 1000, epsnr = 1e-12, mxitnr = 200)
# -l(beta) / W + lambda sum_j (alpha |b_j| + (1 - alpha) / 2 b_j^2) in standardised units, Breslow ties.
objective <- function(beta, lambda, alpha, w) {
  w <- w / sum(w)
  sd <- apply(x, 2, function(v) sqrt(sum(w * (v - sum(w * v))^2)))
  e <- as.numeric(x %*% beta)
  l <- sum(sapply(which(status == 1), function(k) w[k] * (e[k] - log(sum((w * exp(e))[time >= time[k]])))))
  # The scale of weights within the logarithm is a constant; W = 1 here.
  b <- beta * sd
  -l + lambda * sum(alpha * abs(b) + (1 - alpha) / 2 * b^2)
}
keep <- function(alpha, w, at = c(5, 12, 20)) {
  fit <- glmnet(x, y, family = "cox", alpha = alpha, nlambda = 20, lambda.min.ratio = 0.05, weights = w,
    thresh = 1e-14, maxit = 1e8)
  # Given back its own lambdas: a ridge takes the first of a sequence for infinite.
  fit <- glmnet(x, y, family = "cox", alpha = alpha, lambda = fit$lambda, weights = w, thresh = 1e-14,
    maxit = 1e8)
  list(lambda = fit$lambda, nulldev = fit$nulldev, dev_ratio = fit$dev.ratio, df = unname(fit$df),
    beta_at = at - 1,
    objective = sapply(seq_along(fit$lambda), function(k)
      objective(as.numeric(fit$beta[, k]), fit$lambda[k], alpha, w)),
    beta = lapply(at, function(k) { b <- as.numeric(fit$beta[, k]); s <- which(b != 0)
      list(i = I(s - 1), v = I(b[s])) }))
}
out <- list(time = time, status = status, weights = weights, x = lapply(1:p, function(k) x[, k]),
  lasso = keep(1, rep(1, n)), elastic = keep(0.5, rep(1, n)), ridge = keep(0, rep(1, n)),
  weighted = keep(0.9, weights),
  made_with = list(R = R.version.string, glmnet = as.character(packageVersion("glmnet")),
    survival = as.character(packageVersion("survival"))))
write_json(out, "wide.json", digits = NA, auto_unbox = TRUE)
