# Golden values for Kaplan-Meier, Nelson-Aalen, Fleming-Harrington and log-rank.
# Run in this folder: Rscript make.R   (R 4.2.2, survival 3.5-3, jsonlite; writes curves.json)
suppressMessages({ library(survival); library(jsonlite) })
set.seed(20261122)

cases <- list()
case <- function(name, time, status, entry = NULL, weights = NULL, group = NULL, strata = NULL) {
  d <- list(time = time, status = as.integer(status))
  if (!is.null(entry)) d$entry <- entry
  if (!is.null(weights)) d$weights <- weights
  if (!is.null(group)) d$group <- as.character(group)
  if (!is.null(strata)) d$strata <- as.character(strata)
  cases[[name]] <<- d
}

v <- survival::veteran
case("veteran", v$time, v$status, group = v$celltype, strata = v$trt)
case("veteran_trt", v$time, v$status, group = v$trt)
l <- survival::lung[!is.na(survival::lung$ph.ecog) & survival::lung$ph.ecog < 3, ]
case("lung", l$time, l$status == 2, group = l$sex, strata = l$ph.ecog)
h <- survival::heart
case("heart", h$stop, h$event, entry = h$start, group = h$transplant, strata = h$surgery)
n <- 240
t <- sample(1:15, n, TRUE); e <- pmin(t - 1, sample(0:6, n, TRUE)); s <- rbinom(n, 1, .6)
g <- sample(c("a", "b", "c"), n, TRUE); z <- sample(c("x", "y"), n, TRUE)
case("ties", t, s, group = g, strata = z)
case("ties_entry", t, s, entry = e, group = g, strata = z)
case("ties_counts", t, s, weights = sample(1:4, n, TRUE), group = g, strata = z)
case("ties_weights", t, s, weights = round(rexp(n), 3) + .05, group = g, strata = z)
case("ties_entry_weights", t, s, entry = e, weights = round(rexp(n), 3) + .05, group = g, strata = z)
k <- 1:36; case("few_ties_entry", t[k] + (k %% 5) / 5, s[k], entry = e[k], group = g[k], strata = z[k])
x <- rexp(300); case("continuous", round(x, 6), rbinom(300, 1, .5), group = 1 + (runif(300) < .03))
case("even", 1:4, rep(1, 4), group = c(1, 2, 1, 2))
case("flat_to_the_end", c(1, 2, 3, 4), c(1, 1, 0, 0), group = c(1, 1, 2, 2))
case("last_is_event", c(1, 2, 2, 3, 4, 4), c(0, 1, 0, 1, 1, 1), group = c(1, 1, 2, 2, 1, 2))
case("all_at_one_time", rep(5, 6), rep(1, 6), group = c(1, 1, 1, 2, 2, 2))
case("one_time_some_censored", rep(5, 6), c(1, 1, 0, 0, 1, 0), group = c(1, 1, 1, 2, 2, 2))
case("time_zero", c(0, 0, 1, 2, 3), c(1, 0, 1, 0, 1), group = c(1, 2, 2, 1, 2))
case("early_censor_only_group", c(3, 4, 5, 6, 7, .5), c(1, 1, 0, 1, 1, 0), group = c(1, 1, 1, 2, 2, 3))
case("lonely_group", c(3, 4, 5, 6, 7, 8, 9), c(1, 0, 1, 1, 0, 1, 1), group = c("one", rep("many", 6)))
case("risk_set_empties", c(3, 6, 7, 8, 8), c(1, 1, 0, 1, 1), entry = c(0, 4, 4, 6, 5), group = c(1, 1, 2, 2, 1))
case("tiny_differences", c(1, 1 + 1e-12, 2, 2 - 1e-13, 3), c(1, 1, 1, 0, 1), group = c(1, 2, 1, 2, 2))

response <- function(d) if (is.null(d$entry)) Surv(d$time, d$status) else Surv(d$entry, d$time, d$status)
# A group that only ever enters as a whole: without labels, one curve.
fit <- function(d, by, ...) {
  y <- response(d); w <- d$weights; g <- if (is.null(by)) rep("", length(d$time)) else d[[by]]
  if (is.null(w)) survfit(y ~ g, ...) else survfit(y ~ g, weights = w, ...)
}
vec <- function(x) I(as.numeric(x))
curves <- function(f) {
  size <- if (is.null(f$strata)) length(f$time) else f$strata
  names <- if (is.null(f$strata)) "" else sub("^g=", "", names(f$strata))
  table <- summary(f)$table; if (!is.matrix(table)) table <- t(as.matrix(table))
  end <- cumsum(size); start <- end - size + 1
  p <- c(.1, .25, .5, .75, .9)
  lapply(seq_along(size), function(k) {
    i <- start[k]:end[k]; one <- if (is.null(f$strata)) f else f[k]
    taus <- c(quantile(f$time[i], c(.3, .8), type = 1, names = FALSE), 1.25 * max(f$time[i])); taus <- taus[taus > 0]
    q <- quantile(one, p); rm <- lapply(taus, function(tau) summary(one, rmean = tau)$table)
    list(name = names[k], time = vec(f$time[i]), n_risk = vec(f$n.risk[i]), n_event = vec(f$n.event[i]),
      n_censor = vec(f$n.censor[i]), surv = vec(f$surv[i]), std_err = vec(f$std.err[i]), lower = vec(f$lower[i]),
      upper = vec(f$upper[i]), cumhaz = vec(f$cumhaz[i]), std_chaz = vec(f$std.chaz[i]),
      records = table[k, "records"], n_max = table[k, "n.max"], n_start = table[k, "n.start"],
      events = table[k, "events"], median = table[k, "median"], median_lower = unname(table[k, grep("LCL", colnames(table))]),
      median_upper = unname(table[k, grep("UCL", colnames(table))]),
      p = vec(p), q = vec(q$quantile), q_lower = vec(q$lower), q_upper = vec(q$upper),
      tau = vec(taus), rmean = vec(sapply(rm, function(r) r["rmean"])), se_rmean = vec(sapply(rm, function(r) r["se(rmean)"])))
  })
}
logrank <- function(d, stratified, rho) {
  d <- as.data.frame(unclass(d)); if (!is.null(d$weights)) d <- d[rep(seq_len(nrow(d)), d$weights), ]
  y <- Surv(d$time, d$status); g <- d$group; s <- d$strata
  f <- try(if (stratified) survdiff(y ~ g + strata(s), rho = rho) else survdiff(y ~ g, rho = rho), silent = TRUE)
  if (inherits(f, "try-error")) return(list(rho = rho, stratified = stratified, singular = TRUE))
  total <- function(x) if (is.matrix(x)) rowSums(x) else x
  list(rho = rho, stratified = stratified, n = vec(f$n), observed = vec(total(f$obs)), expected = vec(total(f$exp)),
    var = f$var, chisq = f$chisq, df = sum(total(f$exp) > 0) - 1, p = f$pvalue)
}
# With left truncation survdiff refuses; the score test of the exact partial likelihood is the log-rank test.
score <- function(d, stratified) {
  y <- response(d); g <- factor(d$group); s <- d$strata
  f <- if (stratified) coxph(y ~ g + strata(s), ties = "exact") else coxph(y ~ g, ties = "exact")
  list(stratified = stratified, chisq = f$score, df = length(coef(f)), p = pchisq(f$score, length(coef(f)), lower.tail = FALSE))
}
out <- list(versions = list(R = R.version.string, survival = as.character(packageVersion("survival"))), cases = list())
for (nm in names(cases)) {
  d <- cases[[nm]]; r <- list(data = lapply(d, I), km = list())
  for (ct in c("log", "plain", "log-log")) for (by in list(NULL, "group")) {
    key <- paste0(ct, if (is.null(by)) "" else "/by")
    r$km[[key]] <- curves(fit(d, by, conf.type = ct, robust = FALSE))
  }
  r$km[["log/by/level 0.8"]] <- curves(fit(d, "group", conf.int = .8, robust = FALSE))
  for (ct in 1:2) r$fh[[as.character(ct)]] <- curves(fit(d, NULL, stype = 2, ctype = ct, robust = FALSE))
  if (!is.null(d$weights)) {
    f <- if (is.null(d$entry)) survfit(response(d) ~ 1, weights = d$weights, robust = TRUE) else
      survfit(response(d) ~ 1, weights = d$weights, robust = TRUE, id = seq_along(d$time))
    r$robust <- list(time = vec(f$time), std_surv = vec(if (f$logse) f$std.err * f$surv else f$std.err), std_chaz = vec(f$std.chaz),
      lower = vec(f$lower), upper = vec(f$upper))
  }
  whole <- is.null(d$weights) || all(d$weights == round(d$weights))
  if (is.null(d$entry) && whole) r$logrank <- unlist(lapply(c(0, 1, .5), function(rho)
    lapply(if (is.null(d$strata)) FALSE else c(FALSE, TRUE), function(s) logrank(d, s, rho))), recursive = FALSE)
  if (!is.null(d$entry) && is.null(d$weights) && nm == "few_ties_entry")
    r$score <- lapply(c(FALSE, TRUE), function(s) score(d, s))
  out$cases[[nm]] <- r
}
write_json(out, "curves.json", digits = NA, auto_unbox = TRUE, null = "null", na = "null")
