# What R's survival says of Cox models beyond their coefficients. Run in this folder: Rscript make.R
suppressMessages({library(survival); library(jsonlite)})
ctl <- coxph.control(eps = 1e-12, iter.max = 60, toler.chol = 1e-14)
s <- read.csv("../survival/data/synth_ties.csv")
v <- read.csv("../survival/data/veteran.csv")
v$row <- seq_len(nrow(v)); s$row <- seq_len(nrow(s))
flat <- function(m) as.vector(t(as.matrix(m)))   # row-major
R <- list(meta = list(R = R.version.string, survival = as.character(packageVersion("survival"))))

zphs <- function(fit) {
  out <- list()
  for (tr in c("km", "rank", "identity", "log")) {
    z <- cox.zph(fit, transform = tr, terms = FALSE)$table
    out[[tr]] <- list(rows = rownames(z), chisq = unname(z[, "chisq"]), df = unname(z[, "df"]), p = unname(z[, "p"]))
  }
  out
}
summary_of <- function(fit) list(coef = unname(coef(fit)), loglik0 = fit$loglik[1], loglik = fit$loglik[length(fit$loglik)],
  se = unname(sqrt(diag(if (is.null(fit$naive.var)) fit$var else fit$naive.var))), score = unname(fit$score), wald = unname(fit$wald.test))
residuals_of <- function(fit) {
  sc <- residuals(fit, "schoenfeld")
  time <- as.numeric(rownames(as.matrix(sc)))
  list(martingale = unname(residuals(fit, "martingale")), deviance = unname(residuals(fit, "deviance")),
       score_residual = flat(residuals(fit, "score")), dfbeta = flat(residuals(fit, "dfbeta")), dfbetas = flat(residuals(fit, "dfbetas")),
       schoenfeld = flat(sc), scaledsch = flat(residuals(fit, "scaledsch")), schoenfeld_time = time)
}
curve_of <- function(sf) list(time = sf$time, n_event = as.vector(sf$n.event), surv = as.vector(sf$surv), cumhaz = as.vector(sf$cumhaz),
  std_err = as.vector(sf$std.err), lower = as.vector(sf$lower), upper = as.vector(sf$upper))

# Residuals and tests of proportionality, with both methods for ties.
for (ti in c("efron", "breslow")) {
  plain <- coxph(Surv(time, status) ~ trt + karno + age + prior, v, ties = ti, control = ctl)
  R$fits[[paste0("veteran/", ti)]] <- c(summary_of(plain), residuals_of(plain), list(zph = zphs(plain)))
  full <- coxph(Surv(entry, time, status) ~ x1 + x2 + x3 + strata(stratum) + offset(offset), s, weights = w,
                ties = ti, robust = FALSE, control = ctl)
  R$fits[[paste0("full/", ti)]] <- c(summary_of(full), residuals_of(full), list(zph = zphs(full)))
  cl <- coxph(Surv(entry, time, status) ~ x1 + x2 + x3 + strata(stratum) + offset(offset), s, weights = w,
              ties = ti, cluster = cl, control = ctl)
  R$fits[[paste0("clustered/", ti)]] <- c(summary_of(cl), list(robust_se = unname(sqrt(diag(cl$var))),
    dfbeta = flat(residuals(cl, "dfbeta", collapse = s$cl)), martingale = as.vector(residuals(cl, "martingale", collapse = s$cl)),
    dfbetas = flat(residuals(cl, "dfbetas"))))
  # Curves at new covariates.
  new <- data.frame(trt = c(0, 1), karno = c(60, 99), age = c(58, 30), prior = c(0, 1))
  for (ct in c("log", "plain", "log-log")) for (k in 1:2)
    R$curves[[paste("veteran", ti, ct, k, sep = "/")]] <- curve_of(survfit(plain, newdata = new[k, ], conf.type = ct))
  for (k in 1:2) {
    sf <- survfit(plain, newdata = new[k, ])
    R$curves[[paste("veteran", ti, "quantiles", k, sep = "/")]] <- lapply(quantile(sf, c(.25, .5, .75)), as.vector)
    R$curves[[paste("veteran", ti, "rmst100", k, sep = "/")]] <- unname(summary(sf, rmean = 100)$table["rmean"])
  }
  for (st in 1:4) for (fit in c("full", "clustered")) {
    sf <- survfit(if (fit == "full") full else cl, newdata = data.frame(x1 = .5, x2 = -1, x3 = 2, stratum = st, offset = 0))
    R$curves[[paste(fit, ti, st, sep = "/")]] <- curve_of(sf)
  }
  # R's baseline has the mean offset in it; ours is for offset 0.
  none <- coxph(Surv(entry, time, status) ~ x1 + x2 + x3 + strata(stratum), s, weights = w, ties = ti, robust = FALSE, control = ctl)
  b <- basehaz(none, centered = FALSE)
  R$basehaz[[paste0("full/", ti)]] <- list(time = b$time, hazard = b$hazard, strata = sub("stratum=", "", as.character(b$strata)))
  b <- basehaz(plain, centered = FALSE)
  R$basehaz[[paste0("veteran/", ti)]] <- list(time = b$time, hazard = b$hazard)
  # Starting values are the null hypothesis.
  R$fits[[paste0("start/", ti)]] <- summary_of(coxph(Surv(time, status) ~ x1 + x2, s, init = c(.3, -.2), ties = ti, control = ctl))
  # A coefficient that is fixed is an offset.
  R$fits[[paste0("fixed/", ti)]] <- summary_of(coxph(Surv(time, status) ~ x1 + x3 + offset(-.4 * x2), s, ties = ti, control = ctl))
  # Ridge penalties per term (with entry R's penalised fit diverges on these data).
  r <- coxph(Surv(time, status) ~ ridge(x1, theta = 20, scale = FALSE) + x2 + ridge(x3, x4, theta = 3, scale = FALSE) +
             strata(stratum), s, weights = w, robust = FALSE, ties = ti, control = ctl)
  R$fits[[paste0("ridge/", ti)]] <- list(coef = unname(coef(r)), var = flat(r$var), var2 = flat(r$var2), df = sum(diag(solve(r$var) %*% r$var2)),
    loglik0 = r$loglik[1], loglik = r$loglik[2], penalty = r$penalty[2])
}

# Exact ties; s5 rounds the times to a few values. With entry R walks through all subsets: few rows.
s5 <- s; s5$time <- ceiling(s$time / 5) + 1
ex <- function(key, fit) R$fits[[paste0("exact/", key)]] <<- c(summary_of(fit), list(var = flat(fit$var),
  martingale = unname(residuals(fit, "martingale")), zph = zphs(fit)))
ex("plain", coxph(Surv(time, status) ~ x1 + x2 + x3 + x4 + x5, s, ties = "exact", control = ctl))
ex("strata", coxph(Surv(time, status) ~ x1 + x2 + x3 + strata(stratum), s, ties = "exact", control = ctl))
e <- (coxph(Surv(entry, time, status) ~ x1 + x2 + strata(stratum) + offset(offset), s[1:60, ], ties = "exact", control = ctl))
# R 3.5-3 gives this one without its class.
R$fits[["exact/entry"]] <- list(coef = unname(e$coefficients), se = unname(sqrt(diag(e$var))), var = flat(e$var),
  loglik0 = e$loglik[1], loglik = e$loglik[2], score = unname(e$score))
ex("heavy", coxph(Surv(time, status) ~ x1 + x2 + x3, s5, ties = "exact", control = ctl))

# Contrasts and nested models.
full <- coxph(Surv(time, status) ~ trt + karno + age + prior, v, control = ctl)
small <- coxph(Surv(time, status) ~ karno + prior, v, control = ctl)
L <- rbind(c(1, 0, 0, 0), c(0, 10, -5, 0))
est <- as.vector(L %*% coef(full)); VL <- L %*% full$var %*% t(L)
R$contrast <- list(L = flat(L), estimate = est, se = sqrt(diag(VL)), chisq = as.vector(est %*% solve(VL) %*% est))
a <- anova(small, full)
R$anova <- list(loglik = a$loglik, chisq = a$Chisq[2], df = a$Df[2], p = a[["Pr(>|Chi|)"]][2])

# Restricted cubic splines: the formula of Harrell (2015), Regression Modeling Strategies, 2.23-2.24,
# with knots at his quantiles.
rcs <- function(x, t) {
  k <- length(t); up <- function(u) pmax(u, 0)^3
  cbind(x, sapply(1:(k - 2), function(j) (up(x - t[j]) - up(x - t[k - 1]) * (t[k] - t[j]) / (t[k] - t[k - 1]) +
    up(x - t[k]) * (t[k - 1] - t[j]) / (t[k] - t[k - 1])) / (t[k] - t[1])^2))
}
probs <- list(`3` = c(.1, .5, .9), `4` = c(.05, .35, .65, .95), `5` = c(.05, .275, .5, .725, .95),
  `6` = c(.05, .23, .41, .59, .77, .95), `7` = c(.025, .1833, .3417, .5, .6583, .8167, .975))
for (k in names(probs)) {
  t <- unname(quantile(v$age, probs[[k]]))
  R$rcs[[k]] <- list(knots = t, basis_head = flat(rcs(v$age[1:12], t)))
}
X <- rcs(v$age, unname(quantile(v$age, probs$`4`)))
R$rcs$fit <- summary_of(coxph(Surv(time, status) ~ X, v, control = ctl))

# Cause-specific: other causes are censored.
s$cause <- ifelse(s$status == 0, 0, 1 + s$row %% 2)
for (k in 1:2) R$cause[[as.character(k)]] <- summary_of(coxph(Surv(time, cause == k) ~ x1 + x2, s, control = ctl))
write_json(R, "results.json", digits = 15, auto_unbox = TRUE, null = "null", na = "null")
