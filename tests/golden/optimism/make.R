# Golden optimism of a Cox model's concordance. Run in this folder: Rscript make.R
# (R 4.2.2, survival 3.5-3, jsonlite; reads draws.json, writes optimism.json)
suppressMessages({ library(survival); library(jsonlite) })
d <- read.csv("../survival/data/veteran.csv"); draws <- lapply(fromJSON("draws.json", simplifyVector = FALSE), function(x) unlist(x) + 1)
fit <- function(rows) coxph(Surv(time, status) ~ trt + karno + diagtime + age + prior, data = d[rows, ], eps = 1e-12, iter.max = 60)
cindex <- function(f, rows) { z <- d[rows, ]; lp <- as.matrix(z[names(coef(f))]) %*% coef(f)
  concordance(Surv(z$time, z$status) ~ lp, reverse = TRUE)$concordance }
all <- seq_len(nrow(d)); apparent <- cindex(fit(all), all)
each <- sapply(draws, function(rows) { f <- fit(rows); c(cindex(f, rows), cindex(f, all), cindex(f, setdiff(all, rows))) })
optimism <- mean(each[1, ] - each[2, ]); oob <- mean(each[3, ]); o2 <- max(oob, .5)
r <- if (oob < apparent && apparent > .5) (apparent - o2) / (apparent - .5) else 0
w <- .632 / (1 - .368 * r)
write_json(list(apparent = apparent, optimism = optimism, corrected = apparent - optimism, out_of_bag = oob,
  e632 = .368 * apparent + .632 * oob, e632plus = (1 - w) * apparent + w * o2), "optimism.json", digits = NA, auto_unbox = TRUE)
