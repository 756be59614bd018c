"""The training step of DeepSurv in PyTorch, for time: prints CPU seconds and the last loss.

usage: deepsurv_torch.py LOSS N P BATCH EPOCHS      LOSS: torch, pycox or torchsurv
Data of the same law as the Rust side's; reading and start-up are not timed.
"""
import sys, time
import torch

kind, (n, p, batch, epochs) = sys.argv[1], map(int, sys.argv[2:6])
torch.set_num_threads(1)
torch.manual_seed(7)
x = torch.randn(n, p)
eta = x[:, :10] @ (0.3 - 0.6 * torch.arange(10.0) / 9.0)
wait = torch.distributions.Exponential(1.0)
time_to, censor = wait.sample((n,)) * torch.exp(-eta), wait.sample((n,))
censor = censor * time_to.median() * 1.6
event, t = time_to <= censor, torch.minimum(time_to, censor)

if kind == "torch":
    def loss_of(risk, t, event):
        order = torch.argsort(t, descending=True)
        risk, event = risk[order], event[order]
        return (torch.logcumsumexp(risk, 0) - risk)[event].sum() / event.sum()
elif kind == "pycox":
    from pycox.models.loss import cox_ph_loss
    def loss_of(risk, t, event):
        return cox_ph_loss(risk, t, event.float())
else:
    from torchsurv.loss.cox import neg_partial_log_likelihood
    def loss_of(risk, t, event):
        return neg_partial_log_likelihood(risk, event, t, ties_method="efron")

net = torch.nn.Sequential(torch.nn.Linear(p, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256),
                          torch.nn.ReLU(), torch.nn.Linear(256, 1, bias=False))
adam = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.0)
start, losses = time.process_time(), []
for epoch in range(epochs):
    order, losses = torch.randperm(n), []
    for rows in order.split(batch) if batch < n else [slice(None)]:
        loss = loss_of(net(x[rows]).squeeze(1), t[rows], event[rows])
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
print(time.process_time() - start, sum(losses) / len(losses))
