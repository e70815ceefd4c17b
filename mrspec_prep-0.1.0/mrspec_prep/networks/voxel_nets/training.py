"""One loop for every network: Adam over minibatches of voxels, one-cycle schedule, clipped gradients."""

import math

import torch


def descend(loss_of, groups, voxels, *, n_steps, batch_size, one_cycle, clip, randomness, on_step=None):
    """Train.

    Parameters
    ----------
    loss_of : callable
        ``loss_of(voxels, progress)`` answers the loss of a batch, a tensor, and what is to be watched, a dict
        of str to tensor with ``loss``; ``progress`` runs from 0 to 1.
    groups : list of dict
        Of ``params`` and ``lr``, the largest learning rate.
    voxels : (n,) tensor
        To train on.
    n_steps, batch_size : int
    one_cycle : bool
        Rates rise to the largest and fall to nothing (Smith and Topin 2019); else constant.
    clip : float
        Largest norm of a group's gradient; 0: as it comes.
    randomness : Randomness
    on_step : callable, optional
        ``on_step(step, n_steps)`` after each epoch.

    Returns
    -------
    dict of str to list
        Means over each epoch of what was watched, and ``learning_rate`` of the first group at its end.

    Raises
    ------
    ValueError
        The loss is no longer a finite number.

    """
    optimiser = torch.optim.Adam(groups)
    rates, schedule = [group["lr"] for group in groups], None
    if one_cycle:
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=max(n_steps, 2))
    history, step = {}, 0
    while step < n_steps:
        seen = []
        for batch in voxels[randomness.order(len(voxels))].split(batch_size):
            if step == n_steps:
                break
            loss, watched = loss_of(batch, step / n_steps)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            for group in optimiser.param_groups if clip else ():
                torch.nn.utils.clip_grad_norm_(group["params"], clip)
            optimiser.step()
            if schedule is not None:
                schedule.step()
            seen.append(watched)
            step += 1
        for name in seen[0]:
            history.setdefault(name, []).append(float(torch.stack([each[name] for each in seen]).mean()))
        if not math.isfinite(history["loss"][-1]):
            raise ValueError(f"the training diverged before step {step}: another seed, or a lower learning_rate")
        history.setdefault("learning_rate", []).append(float(optimiser.param_groups[0]["lr"]))
        if on_step is not None:
            on_step(step, n_steps)
    return history


def steps_of(n_voxels, batch_size, n_epochs):
    """Steps of so many epochs."""
    return n_epochs * -(-n_voxels // batch_size)
