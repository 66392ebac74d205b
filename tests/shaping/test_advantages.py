"""Estimators of advantages against sums written out and against the gradients that they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from shaping.advantages import Alignment, Gae, OpponentQ, generalized_advantages, past_sum, per_step
from shaping.learner import Context, Record, Trajectory

T, B, N = 5, 3, 3
GAMMA, LAMBDA = 0.9, 0.8


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def experience(ended_at=None):
    """A context of random rewards; the first episode ends with step `ended_at`."""
    terminated = np.zeros((T, B), bool)
    valid = np.ones((T, B), np.float32)
    if ended_at is not None:
        terminated[ended_at, 0] = True
        valid[ended_at + 1 :, 0] = 0
    reward = np.array(normal(0, T, B, N)) * valid[..., None]
    action = jax.random.randint(jax.random.key(1), (T, B, N), 0, 2)
    trajectory = Trajectory(
        None,
        None,
        action[..., 0],
        jnp.asarray(reward[..., 0]),
        jnp.asarray(valid),
        jnp.asarray(terminated),
        (),
        None,
        None,
    )
    env = envs.make("ipd", players=N)
    return Context(env, jnp.int32(0), trajectory, Record(action, jnp.asarray(reward)), None, None, None)


def written_out(reward, value, terminated, discount, gae_lambda):
    """Â_t = Σ_k (γλ)^k δ_{t+k}, stopping where the game ends."""
    advantage = np.zeros_like(reward)
    for t in range(len(reward)):
        for k in range(t, len(reward)):
            going = np.prod(1.0 - terminated[t:k], axis=0)
            error = reward[k] + discount * (1 - terminated[k]) * value[k + 1] - value[k]
            advantage[t] += going * (discount * gae_lambda) ** (k - t) * error
    return advantage


def everybodys(context, value):
    """Advantages `[T, B, n]` of episodes that do not end."""
    reward, value = np.asarray(context.record.reward), np.asarray(value)
    one = lambda j: written_out(reward[..., j], value[..., j], np.zeros((T, B)), GAMMA, LAMBDA)  # noqa: E731
    return np.stack([one(j) for j in range(N)], axis=-1)


@pytest.mark.parametrize("gae_lambda", [0.0, 0.8, 1.0])
def test_generalised_advantages_are_the_sums(gae_lambda):
    reward, value = np.asarray(normal(2, T, B)), np.asarray(normal(3, T + 1, B))
    terminated = np.zeros((T, B))
    terminated[2, 1] = 1
    expected = written_out(reward, value, terminated, GAMMA, gae_lambda)
    found = generalized_advantages(*map(jnp.asarray, (reward, value, terminated)), GAMMA, gae_lambda)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_with_lambda_one_an_advantage_is_the_return_minus_the_value():
    context, value = experience(), normal(4, T + 1, B, 1)
    estimate = Gae(GAMMA, 1.0)(context, value)
    reward = np.asarray(context.trajectory.reward)
    for t in range(T):
        returns = sum(GAMMA ** (k - t) * reward[k] for k in range(t, T)) + GAMMA ** (T - t) * value[T, :, 0]
        np.testing.assert_allclose(estimate.target[t, :, 0], returns, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(estimate.advantage[t], returns - value[t, :, 0], rtol=1e-4, atol=1e-5)


def test_past_sums_are_strictly_of_the_past():
    x = np.asarray(normal(5, T, B))
    expected = [sum(GAMMA ** (t - k) * x[k] for k in range(t)) + np.zeros(B) for t in range(T)]
    np.testing.assert_allclose(past_sum(jnp.asarray(x), GAMMA), expected, rtol=1e-5, atol=1e-6)


def test_nothing_counts_after_the_end_of_an_episode():
    context, value = experience(ended_at=1), normal(6, T + 1, B, N)
    for estimator in (Gae(GAMMA, LAMBDA), Alignment(GAMMA, LAMBDA), OpponentQ(GAMMA, LAMBDA)):
        k = estimator.critics(context.env)
        values = jnp.concatenate([value, normal(7, T + 1, B, max(0, k - N))], axis=-1)[..., :k]
        assert float(jnp.abs(estimator(context, values).advantage[2:, 0]).max()) == 0.0
    first = Gae(GAMMA, LAMBDA)(context, value[..., :1]).target[1, 0, 0]
    np.testing.assert_allclose(first, context.trajectory.reward[1, 0], rtol=1e-5)  # no value of what follows


class TestAlignment:
    def advantages(self):
        context, value = experience(), normal(8, T + 1, B, N)
        return context, value, everybodys(context, value)

    def test_rule_of_the_paper(self):
        context, value, a = self.advantages()
        estimate = Alignment(GAMMA, LAMBDA, alignment=0.7)(context, value)
        for t in range(T):
            past = sum((GAMMA ** (t - k) * a[k, :, 0] for k in range(t)), np.zeros(B))
            expected = a[t, :, 0] + 0.7 * GAMMA * past * a[t, :, 1:].sum(axis=-1)
            np.testing.assert_allclose(estimate.advantage[t], expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(estimate.target, a + np.asarray(value[:-1]), rtol=1e-4, atol=1e-5)

    def test_rule_of_the_public_code(self):
        context, value, a = self.advantages()
        estimate = Alignment(GAMMA, LAMBDA, alignment=0.7, rule="code")(context, value)
        a = (a - a.mean(axis=(0, 1))) / a.std(axis=(0, 1))
        for t in range(T):
            expected = a[t, :, 0] + 0.7 * a[:t, :, 0].sum(axis=0) * a[t, :, 1:].sum(axis=-1) / (t + 1)
            np.testing.assert_allclose(estimate.advantage[t], expected, rtol=1e-3, atol=1e-4)

    def test_without_alignment_it_is_the_plain_estimator(self):
        context, value, _ = self.advantages()
        plain = Gae(GAMMA, LAMBDA)(context, value[..., :1])
        np.testing.assert_allclose(
            Alignment(GAMMA, LAMBDA, alignment=0.0)(context, value).advantage, plain.advantage, rtol=1e-5
        )


def test_opponent_q_is_the_gradient_of_the_opponents_policies():
    """∂/∂ log π(a_k) of Σ_t A_t (log π(a_t) + w Σ_j log p_j(b_t)).

    In the softmax p_j the value of the action taken is its return, which depends on the own later actions.
    """
    estimator = OpponentQ(GAMMA, LAMBDA, opponent_weight=0.6, temperature=1.7)
    context = experience()
    value = normal(9, T + 1, B, estimator.critics(context.env))
    estimate = estimator(context, value)
    advantage = everybodys(context, value)
    choices = value[:-1, :, N:].reshape(T, B, N - 1, 2)
    taken = context.record.action[..., 1:]

    def surrogate(log_prob):
        moved = log_prob - jax.lax.stop_gradient(log_prob)
        total = jnp.zeros(())
        for t in range(T):
            weight = advantage[t, :, 0]
            total += (weight * log_prob[t]).sum()
            for j in range(N - 1):
                later = sum(
                    (GAMMA ** (k - t) * advantage[k, :, j + 1] * moved[k] for k in range(t + 1, T)), jnp.zeros(B)
                )
                gained = advantage[t, :, j + 1] + value[t, :, j + 1] + later
                picked = jax.nn.one_hot(taken[t, :, j], 2) > 0
                logits = jnp.where(picked, gained[:, None], choices[t, :, j]) / 1.7
                total += 0.6 * (weight * jnp.where(picked, jax.nn.log_softmax(logits), 0.0).sum(axis=-1)).sum()
        return total

    gradient = jax.jit(jax.grad(surrogate))(jnp.zeros((T, B)))
    np.testing.assert_allclose(estimate.advantage, gradient, rtol=1e-4, atol=1e-5)
    q_weight = estimate.weight[..., N:].reshape(T, B, N - 1, 2)
    np.testing.assert_array_equal(q_weight, jax.nn.one_hot(taken, 2))
    learned = (estimate.target[..., N:].reshape(T, B, N - 1, 2) * q_weight).sum(axis=-1)
    np.testing.assert_allclose(learned, estimate.target[..., 1:N], rtol=1e-5, atol=1e-6)


def test_critics_learn_values_on_the_scale_of_a_reward():
    assert float(per_step(0.96, 100)) == pytest.approx(0.04)
    assert float(per_step(1.0, 100)) == pytest.approx(0.01)
