# What R gives for the command lines in crates/survlatent-cli/tests. Run in this folder:
#   Rscript make.R
suppressMessages({library(survival); library(jsonlite)})
options(digits = 17)
ctl <- coxph.control(eps = 1e-12, iter.max = 60, toler.chol = 1e-14)

# A table as people have them: text, TRUE/FALSE, missing cells.
v <- survival::veteran
raw <- data.frame(patient = sprintf("P%03d", seq_len(nrow(v))), time = v$time,
                  died = ifelse(v$status == 1, "TRUE", "FALSE"),
                  celltype = as.character(v$celltype), trt = v$trt, karno = v$karno, age = v$age)
raw$karno[c(5, 40)] <- NA
raw$celltype[c(17, 40)] <- NA
write.csv(raw, "veteran_raw.csv", row.names = FALSE, quote = FALSE)
s <- read.csv("../survival/data/synth_ties.csv")
lung <- read.csv("../survival/data/lung.csv")
vet <- read.csv("../survival/data/veteran.csv")

cox <- function(fit, level = .95) {
  sm <- summary(fit, conf.int = level)
  robust <- !is.null(fit$naive.var)
  se <- unname(sqrt(diag(if (robust) fit$naive.var else fit$var)))
  used <- unname(sqrt(diag(fit$var)))
  z <- unname(coef(fit)) / used
  list(n = fit$n, nevent = fit$nevent, names = names(coef(fit)), coef = unname(coef(fit)),
       exp_coef = unname(exp(coef(fit))), se = se, robust_se = if (robust) used else NULL, z = z,
       p = 2 * pnorm(-abs(z)), lower = unname(sm$conf.int[, 3]), upper = unname(sm$conf.int[, 4]),
       loglik0 = fit$loglik[1], loglik = fit$loglik[2], lr = 2 * diff(fit$loglik),
       wald = unname(fit$wald.test), score = unname(fit$score),
       concordance = unname(fit$concordance["concordance"]),
       concordance_se = unname(fit$concordance["std"]),
       dropped_rows = length(fit$na.action))
}
R <- list(meta = list(R = R.version.string, survival = as.character(packageVersion("survival"))))
rawf <- within(raw, {died <- died == "TRUE"; celltype <- factor(celltype); arm <- factor(trt)})
R$cox$categorical <- cox(coxph(Surv(time, died) ~ celltype + karno, rawf, control = ctl))
names_ <- function(x) sub("^arm", "trt", x)
f <- cox(coxph(Surv(time, died) ~ arm + age, rawf, control = ctl)); f$names <- names_(f$names)
R$cox$numeric_categorical <- f
R$cox$level <- cox(coxph(Surv(time, status) ~ karno + age, vet, control = ctl), .9)
for (ti in c("efron", "breslow")) {
  R$cox[[paste0("everything_", ti)]] <- cox(coxph(Surv(entry, time, status) ~ x1 + x2 + x3 + strata(stratum),
    s, weights = w, cluster = cl, ties = ti, control = ctl))
  R$cox[[paste0("two_strata_", ti)]] <- cox(coxph(Surv(time, status) ~ x1 + x2 + strata(stratum, iw), s,
    ties = ti, control = ctl))
}
R$cox$robust <- cox(coxph(Surv(time, status) ~ x1 + x2, s, weights = w, robust = TRUE, control = ctl))
# A formula's terms; Hmisc gives the spline's columns.
spline <- Hmisc::rcspline.eval(lung$age, nk = 4, inclx = TRUE, norm = 2)
lung$age0 <- spline[, 1]; lung$age1 <- spline[, 2]; lung$age2 <- spline[, 3]
f <- cox(coxph(Surv(time, status) ~ age0 + age1 + age2 + factor(sex) * log(ph_karno) + strata(ph_ecog),
  lung, cluster = inst, control = ctl))
f$names <- c("age", "age'", "age''", "sex2", "log(ph_karno)", "sex2:log(ph_karno)")
R$cox$formula <- f
# Rows that stand for several patients, written out.
R$cox$frequencies <- cox(coxph(Surv(time, status) ~ x1 + x2, s[rep(seq_len(nrow(s)), s$iw), ],
  robust = TRUE, control = ctl))

curves <- function(fit, test) {
  n <- if (is.null(fit$strata)) length(fit$time) else fit$strata
  at <- split(seq_along(fit$time), rep(seq_along(n), n))
  table <- summary(fit)$table
  if (is.null(dim(table))) table <- t(table)
  strata <- lapply(seq_along(at), function(k) {
    i <- at[[k]]
    list(name = if (is.null(names(n))) "" else names(n)[k], time = fit$time[i], n_risk = fit$n.risk[i],
         n_event = fit$n.event[i], n_censor = fit$n.censor[i], surv = fit$surv[i],
         std_err = fit$std.err[i], lower = fit$lower[i], upper = fit$upper[i],
         median = table[k, "median"], median_lower = table[k, 8], median_upper = table[k, 9])
  })
  list(strata = unname(strata), logrank = if (is.null(test)) NULL else
       list(chisq = test$chisq, df = length(test$n) - 1,
            p = pchisq(test$chisq, length(test$n) - 1, lower.tail = FALSE)))
}
for (ct in c("log", "plain", "log-log")) R$km[[paste0("veteran_", ct)]] <- curves(
  survfit(Surv(time, status) ~ trt, vet, conf.type = ct), survdiff(Surv(time, status) ~ trt, vet))
R$km$veteran_one <- curves(survfit(Surv(time, status) ~ 1, vet), NULL)
R$km$celltype <- curves(survfit(Surv(time, died) ~ celltype, rawf),
                        survdiff(Surv(time, died) ~ celltype, rawf))
R$km$lung_two <- curves(survfit(Surv(time, status) ~ sex + ph_ecog, lung),
                        survdiff(Surv(time, status) ~ sex + ph_ecog, lung))
R$km$synth_entry <- curves(survfit(Surv(entry, time, status) ~ 1, s), NULL)
R$km$synth_weights <- curves(survfit(Surv(time, status) ~ 1, s, weights = w, robust = FALSE), NULL)

conc <- function(f) list(concordance = unname(f$concordance), std_error = sqrt(unname(f$var)),
  concordant = unname(f$count[1]), discordant = unname(f$count[2]), tied_score = unname(f$count[3]),
  tied_time = unname(f$count[4]), tied_both = unname(f$count[5]), n = f$n)
total <- function(f) { if (is.matrix(f$count)) f$count <- colSums(f$count); f }
R$concordance$age <- conc(concordance(Surv(time, status) ~ age, lung, reverse = TRUE))
R$concordance$karno <- conc(concordance(Surv(time, status) ~ ph_karno, lung))
R$concordance$tau <- conc(concordance(Surv(time, status) ~ age, lung, reverse = TRUE, ymax = 300))
R$concordance$weights <- conc(concordance(Surv(time, status) ~ x1, s, weights = w, reverse = TRUE))
R$concordance$entry <- conc(concordance(Surv(entry, time, status) ~ x1, s, reverse = TRUE))
R$concordance$strata <- conc(total(concordance(Surv(time, status) ~ x1 + strata(stratum), s, reverse = TRUE)))
R$concordance$cluster <- conc(concordance(Surv(time, status) ~ x1, s, cluster = cl, reverse = TRUE))
R$concordance$uno <- conc(concordance(Surv(time, status) ~ age, lung, reverse = TRUE, timewt = "n/G2"))
R$concordance$uno_tau <- conc(concordance(Surv(time, status) ~ age, lung, reverse = TRUE, timewt = "n/G2", ymax = 300))
write_json(R, "results.json", digits = NA, auto_unbox = TRUE, null = "null", na = "null")
