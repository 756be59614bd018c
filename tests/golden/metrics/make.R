# Calibration (ICI), calibration slope and Royston-Sauerbrei. Run in this folder: Rscript make.R
# (R 4.2.2, survival 3.5-3, splines, jsonlite; reads metrics.json, writes calibration.json)
suppressMessages({ library(survival); library(splines); library(jsonlite) })
cases <- fromJSON("metrics.json")$cases
out <- list()
places <- list("3" = c(.1, .5, .9), "4" = c(.05, .35, .65, .95), "5" = c(.05, .275, .5, .725, .95))
for (nm in names(cases)) {
  d <- cases[[nm]]; i <- d$test + 1
  time <- d$time[i]; status <- as.integer(d$event[i]); t0 <- d$times[4]; p <- 1 - d$surv[i, 4]
  x <- log(-log(1 - p)); r <- list(time = t0, risk = p, status = status)
  for (k in names(places)) {
    q <- quantile(x, places[[k]], names = FALSE)
    # Natural splines span the same functions as the restricted cubic splines on these knots.
    b <- ns(x, knots = q[-c(1, length(q))], Boundary.knots = q[c(1, length(q))])
    f <- coxph(Surv(time, status) ~ b, eps = 1e-15, iter.max = 60)
    # coxph stops by the log-likelihood, which says nothing below 1e-8 in a coefficient: a step more.
    f <- suppressWarnings(coxph(Surv(time, status) ~ b, init = coef(f), eps = 1e-15, iter.max = 1))
    h <- basehaz(f, centered = FALSE); h0 <- max(0, h$hazard[h$time <= t0])
    o <- 1 - exp(-h0 * exp(drop(b %*% coef(f)))); e <- abs(p - o)
    r[[paste0("knots", k)]] <- list(observed = o, ici = mean(e), e50 = median(e), e90 = quantile(e, .9, names = FALSE), emax = max(e))
  }
  s <- coxph(Surv(time, status) ~ d$score[i], eps = 1e-15, iter.max = 60)
  r$slope <- unname(coef(s)); r$slope_se <- sqrt(s$var[1, 1])
  for (digits in c(3, 0)) {
    lp <- round(d$score[i], digits); f <- coxph(Surv(time, status) ~ lp, eps = 1e-15, iter.max = 60)
    # royston() fits with default control; its model again with a tight one.
    z <- royston(f)
    u <- qnorm((seq_along(lp) - 3/8) / (length(lp) + 1/4)) / sqrt(8 / pi)
    ranked <- ave(u[rank(lp, ties.method = "first")], lp)
    tight <- coxph(Surv(time, status) ~ ranked, eps = 1e-15, iter.max = 60); D <- unname(coef(tight))
    stopifnot(abs(z[["D"]] / abs(D) - 1) < 1e-4)
    r[[paste0("royston", digits)]] <- list(lp = lp, d = D, se = sqrt(tight$var[1, 1]), r2 = (D^2 * pi / 8) / (pi^2 / 6 + D^2 * pi / 8), royston_d = z[["D"]], royston_r = z[["R.D"]])
  }
  km <- survfit(Surv(time, status) ~ 1); r$whole <- unlist(summary(km, times = t0)[c("surv", "lower", "upper")])
  # Observed over expected: Poisson intercept with the predicted cumulative hazard as offset.
  own <- d$own_survival
  gl <- glm(status ~ offset(log(-log(own - (own == 1) * 1e-6))), family = poisson, control = glm.control(epsilon = 1e-300, maxit = 30))
  r$oe_own <- own - (own == 1) * 1e-6; r$oe <- unname(exp(coef(gl))); r$oe_se <- unname(sqrt(vcov(gl)[1, 1]))
  # Brier score with a Cox model of the censoring, G(T-) at events, the definition row by row. Events
  # come before censorings at the same time: they are moved into the gap before.
  u <- sort(unique(time)); early <- time
  gap <- function(t) { k <- match(t, u); if (k == 1) NA else (u[k] + u[k - 1]) / 2 }
  early[status == 1] <- sapply(time[status == 1], gap)
  keep <- !is.na(early); z <- d$score[i]
  f <- coxph(Surv(early[keep], 1 - status[keep]) ~ z[keep], eps = 1e-15, iter.max = 60, timefix = FALSE)
  h <- basehaz(f, centered = FALSE); H <- function(t, left) { w <- if (left) h$time < t else h$time <= t; max(0, h$hazard[w]) }
  G <- function(k, t, left) exp(-H(t, left) * exp(coef(f) * z[k]))
  r$brier_cox <- sapply(seq_along(d$times), function(j) { t <- d$times[j]
    mean(sapply(seq_along(time), function(k) { s <- d$surv[i[k], j]
      if (time[k] > t) (1 - s)^2 / G(k, t, FALSE) else if (status[k] == 1) s^2 / G(k, time[k], TRUE) else 0 })) })
  out[[nm]] <- r
}
write_json(list(made_by = paste(R.version.string, "survival", packageVersion("survival")), cases = out), "calibration.json", digits = NA, auto_unbox = TRUE)
for (nm in names(out)) str(out[[nm]][c("knots3", "slope", "royston3", "royston0", "oe", "whole")])
