# Golden cumulative incidences. Run in this folder: Rscript make.R   (R 4.2.2, survival 3.5-3, jsonlite)
suppressMessages({ library(survival); library(jsonlite) })
set.seed(20261123)
m <- mgus2[seq(1, nrow(mgus2), 7), ]
m$t <- with(m, ifelse(pstat == 0, futime, ptime)); m$c <- with(m, ifelse(pstat == 0, 2 * death, 1))
n <- 150; t <- sample(1:12, n, TRUE); c <- sample(0:2, n, TRUE, c(.3, .5, .2)); g <- sample(c("a", "b"), n, TRUE)
w <- round(rexp(n), 2) + .1; e <- pmax(0, t - sample(1:6, n, TRUE))
d <- list(mgus2 = list(time = m$t, cause = m$c, group = as.character(m$sex)),
          ties = list(time = t, cause = c, group = g), ties_weights = list(time = t, cause = c, group = g, weights = w),
          ties_entry = list(time = t, cause = c, group = g, entry = e),
          ties_entry_weights = list(time = t, cause = c, group = g, entry = e, weights = w),
          last_is_event = list(time = c(1, 2, 3, 3, 4), cause = c(1, 0, 2, 1, 2), group = rep("a", 5)))
vec <- function(x) I(as.numeric(x)); out <- list()
for (nm in names(d)) {
  x <- d[[nm]]; k <- length(x$time); f0 <- factor(x$cause, 0:2, c("none", "one", "two"))
  y <- if (is.null(x$entry)) Surv(x$time, f0) else Surv(x$entry, x$time, f0)
  ww <- if (is.null(x$weights)) rep(1, k) else x$weights; id <- seq_len(k); r <- list(data = lapply(x, I))
  for (by in c("", "group")) for (ct in c("log", "plain", "log-log")) {
    g0 <- if (by == "") rep("", k) else x$group
    f <- survfit(y ~ g0, weights = ww, id = id, conf.type = ct)
    size <- if (is.null(f$strata)) length(f$time) else f$strata; end <- cumsum(size)
    r[[paste0(ct, "/", by)]] <- lapply(seq_along(size), function(s) { i <- (end[s] - size[s] + 1):end[s]
      list(time = vec(f$time[i]), n_risk = vec(f$n.risk[i, 1]), surv = vec(f$pstate[i, 1]), se_surv = vec(f$std.err[i, 1]),
        cif = lapply(2:3, function(j) vec(f$pstate[i, j])), se = lapply(2:3, function(j) vec(f$std.err[i, j])),
        lower = lapply(2:3, function(j) vec(f$lower[i, j])), upper = lapply(2:3, function(j) vec(f$upper[i, j]))) })
  }
  out[[nm]] <- r
}
write_json(out, "competing.json", digits = NA, auto_unbox = TRUE, na = "null")
