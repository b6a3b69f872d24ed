"""Records runs of k-diffusion's and diffusers' samplers on the exact score of
models/mixture2.onnx (its law is models/mixture2.law.npz), with their noise.

    pip install torch numpy scipy tqdm torchsde torchdiffeq diffusers k-diffusion==0.1.1.post1
    python record.py [NAME ...]     # all, or those named
"""
import importlib.util, json, os, sys, types
import numpy as np, torch

here = os.path.dirname(os.path.abspath(__file__))
law = np.load(os.path.join(here, "../../models/mixture2.law.npz"))
means, weights, tau = (torch.tensor(law[k], dtype=torch.float64) for k in ("means", "weights", "tau"))

def denoised(x, a, s):
    """E[x_0 | x] for x = a x_0 + s z, in float64, rounded to float32."""
    y, rho = x.double() / a, s / a
    v = tau ** 2 + rho ** 2
    d = means - y[:, None, :]
    p = torch.softmax(torch.log(weights) - (d ** 2).sum(-1) / (2 * v), 1)
    m = (p[..., None] * means).sum(1)
    return (y + (m - y) * (rho ** 2 / v)).float()

class Recorder:
    def __init__(self, n, seed):
        self.g, self.n, self.draws = torch.Generator().manual_seed(seed), n, []
    def __call__(self, *_, **__):
        z = torch.randn(self.n, 2, generator=self.g)
        self.draws.append(z.numpy().copy())
        return z

def save(name, meta, x0, x, rec):
    if sys.argv[1:] and name not in sys.argv[1:]:
        return
    noise = np.stack(rec.draws) if rec.draws else np.zeros((0, 12, 2), np.float32)
    np.savez_compressed(os.path.join(here, name + ".npz"), meta=np.array(json.dumps(meta)), x_T=x0.numpy(), x_end=x.numpy(), noise=noise)
    print(name, len(rec.draws), x.numpy().ravel()[:3])

# --- k-diffusion, without the parts of it that need more than sampling.
root = os.path.dirname(importlib.util.find_spec("k_diffusion").origin)
pkg = types.ModuleType("k_diffusion"); pkg.__path__ = [root]; sys.modules["k_diffusion"] = pkg
sys.modules["k_diffusion.utils"] = u = types.ModuleType("k_diffusion.utils"); pkg.utils = u
u.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
import k_diffusion.sampling as K

n = 12
real_like = torch.randn_like
steps = 15
sig = K.get_sigmas_karras(steps, 0.05, 8)
for name, f, kw in [
    ("euler", K.sample_euler, {}), ("euler_churn", K.sample_euler, dict(s_churn=5., s_tmin=.1, s_tmax=6., s_noise=1.01)),
    ("heun", K.sample_heun, {}), ("heun_churn", K.sample_heun, dict(s_churn=5., s_tmin=.1, s_tmax=6., s_noise=1.01)),
    ("dpm_2", K.sample_dpm_2, {}), ("dpm_2_churn", K.sample_dpm_2, dict(s_churn=5.)), ("lms", K.sample_lms, {}),
    ("euler_a", K.sample_euler_ancestral, {}), ("euler_a_half", K.sample_euler_ancestral, dict(eta=.5, s_noise=.9)),
    ("dpm_2_a", K.sample_dpm_2_ancestral, {}), ("2s_a", K.sample_dpmpp_2s_ancestral, {}), ("2m", K.sample_dpmpp_2m, {}),
    ("sde", K.sample_dpmpp_sde, {}), ("2m_sde", K.sample_dpmpp_2m_sde, {}), ("2m_sde_heun", K.sample_dpmpp_2m_sde, dict(solver_type="heun", eta=.7)),
    ("3m_sde", K.sample_dpmpp_3m_sde, {}),
    ("euler_churn_above", K.sample_euler, dict(s_churn=5.)), ("heun_churn_above", K.sample_heun, dict(s_churn=5.))]:
    rec = Recorder(n, 5)
    x0 = torch.randn(n, 2, generator=torch.Generator().manual_seed(1)) * 8
    if "sde" in name:
        kw = dict(kw, noise_sampler=rec)
    torch.randn_like = rec
    above = name.endswith("_above")  # 0
    x = f(lambda x, s: denoised(x, 1., s.double()[:, None]), x0.clone(), sig[:-1] if above else sig, disable=True, **kw)
    torch.randn_like = real_like
    kw.pop("noise_sampler", None)
    if name in ("euler", "heun", "dpm_2"):
        rec.draws = []  # drawn and not used
    meta = dict(sampler=name.removesuffix("_above"), steps=steps, **kw)
    if above:
        meta["denoise"] = False
    save("k_" + name, meta, x0, x, rec)

# The samplers that choose their levels, and the other ladders.
x0 = torch.randn(n, 2, generator=torch.Generator().manual_seed(1)) * 8
model = lambda x, s: denoised(x, 1., s.double()[:, None])
for calls in (15, 16, 17):
    x = K.sample_dpm_fast(model, x0.clone(), 0.05, 8., calls, disable=True)
    save(f"k_dpm_fast_{calls}", dict(sampler="dpm_fast", steps=calls), x0, x, Recorder(n, 5))
for name, kw in [("3", {}), ("2", dict(order=2)), ("pid", dict(rtol=.01, atol=.001, pcoeff=.2, icoeff=.6, dcoeff=.1))]:
    x, info = K.sample_dpm_adaptive(model, x0.clone(), 0.05, 8., disable=True, return_info=True, **kw)
    save(f"k_dpm_adaptive_{name}", dict(dict(sampler="dpm_adaptive", steps=info["steps"], nfe=info["nfe"], order=3), **kw), x0, x, Recorder(n, 5))
for name, ladder in [("polyexponential", K.get_sigmas_polyexponential(steps, 0.05, 8, 1.7)), ("exponential", K.get_sigmas_exponential(steps, 0.05, 8)),
                     ("vp", K.get_sigmas_vp(steps, 9., .1, .01))]:
    start = x0 / 8 * ladder[0]
    x = K.sample_dpmpp_2m(model, start.clone(), ladder, disable=True)
    save("k_2m_" + name, dict(sampler="2m", steps=steps, schedule=name), start, x, Recorder(n, 5))

# With the noise of torchsde's Brownian tree, as both packages have it by default.
def recorded(sampler):
    class Tree(sampler):
        def __init__(self, *a, **kw):
            super().__init__(*a, **kw)
            Tree.draws = []
        def __call__(self, *a):
            z = super().__call__(*a)
            Tree.draws.append(z.numpy().reshape(n, 2).copy())
            return z
    return Tree

K.BrownianTreeNoiseSampler = recorded(K.BrownianTreeNoiseSampler)
torch.manual_seed(7)
for name, f in [("sde", K.sample_dpmpp_sde), ("2m_sde", K.sample_dpmpp_2m_sde), ("3m_sde", K.sample_dpmpp_3m_sde)]:
    x = f(model, x0.clone(), sig, disable=True)
    save(f"k_{name}_tree", dict(sampler=name, steps=steps), x0, x, K.BrownianTreeNoiseSampler)

# --- diffusers
import diffusers as D
import diffusers.utils.torch_utils as TU
def run(name, cls, meta, **kw):
    s = cls(num_train_timesteps=1000, **kw)
    s.set_timesteps(meta["steps"])
    rec = Recorder(n, 5)
    x = x0 = torch.randn(n, 2, generator=torch.Generator().manual_seed(1))
    mod = sys.modules[cls.__module__]
    old, mod.randn_tensor = mod.randn_tensor if hasattr(mod, "randn_tensor") else None, rec
    bar = s.alphas_cumprod.double()
    for t in s.timesteps:
        a, sd = bar[int(t)].sqrt(), (1 - bar[int(t)]).sqrt()
        eps = ((x.double() - a * denoised(x, a, sd).double()) / sd).float()
        extra = dict(eta=meta["eta"]) if "eta" in meta else {}
        x = s.step(eps, t, x, **extra).prev_sample
    if old is not None:
        mod.randn_tensor = old
    save("d_" + name, dict(meta, timesteps=[int(t) for t in s.timesteps], betas=kw.get("beta_schedule", "linear"),
         beta_start=kw.get("beta_start", 1e-4), beta_end=kw.get("beta_end", .02), spacing=kw.get("timestep_spacing", "linspace"),
         offset=kw.get("steps_offset", 0), zero_snr=kw.get("rescale_betas_zero_snr", False), clip=kw.get("clip_sample_range", 0.)), x0, x, rec)

B = dict(beta_schedule="scaled_linear", beta_start=.00085, beta_end=.012)
run("ddim", D.DDIMScheduler, dict(sampler="ddim", steps=10, eta=0.), timestep_spacing="leading", clip_sample=False)
run("ddim_eta", D.DDIMScheduler, dict(sampler="ddim", steps=10, eta=.6), timestep_spacing="leading", steps_offset=1, clip_sample=False, **B)
run("ddim_clip", D.DDIMScheduler, dict(sampler="ddim", steps=10, eta=1.), timestep_spacing="leading", clip_sample=True, clip_sample_range=3.)
run("ddpm_clip", D.DDPMScheduler, dict(sampler="ddpm", steps=20), timestep_spacing="leading", clip_sample=True, clip_sample_range=3.)
run("ddim_cosine", D.DDIMScheduler, dict(sampler="ddim", steps=10, eta=0.), timestep_spacing="leading", clip_sample=False, beta_schedule="squaredcos_cap_v2")
run("ddpm", D.DDPMScheduler, dict(sampler="ddpm", steps=20), timestep_spacing="leading", clip_sample=False)
run("ddpm_large", D.DDPMScheduler, dict(sampler="ddpm_large", steps=20), timestep_spacing="leading", clip_sample=False, variance_type="fixed_large")
for order in (1, 2, 3):
    for steps in (8, 20):
        run(f"dpmpp_{order}_{steps}", D.DPMSolverMultistepScheduler, dict(sampler="dpmpp", order=order, steps=steps), solver_order=order, final_sigmas_type="zero")
run("dpmpp_2_trailing", D.DPMSolverMultistepScheduler, dict(sampler="dpmpp", order=2, steps=20), solver_order=2, timestep_spacing="trailing", **B)
run("dpmpp_2_leading", D.DPMSolverMultistepScheduler, dict(sampler="dpmpp", order=2, steps=20), solver_order=2, timestep_spacing="leading", steps_offset=1, **B)
run("sde_dpmpp", D.DPMSolverMultistepScheduler, dict(sampler="2m_sde", order=2, steps=20), solver_order=2, algorithm_type="sde-dpmsolver++")
for order in (1, 2, 3):
    for bh in ("bh1", "bh2"):
        run(f"unipc_{order}_{bh}", D.UniPCMultistepScheduler, dict(sampler="unipc", order=order, bh=bh, steps=12), solver_order=order, solver_type=bh, final_sigmas_type="sigma_min")

# Zero terminal signal-to-noise ratio, where diffusers' Euler puts 2^-24; v is what can be told there.
s = D.EulerDiscreteScheduler(num_train_timesteps=1000, timestep_spacing="trailing", rescale_betas_zero_snr=True, prediction_type="v_prediction", **B)
s.set_timesteps(12)
x0 = x = torch.randn(n, 2, generator=torch.Generator().manual_seed(1)) * s.init_noise_sigma
for i, t in enumerate(s.timesteps):
    sigma = s.sigmas[i].double()
    d = denoised(x, 1., sigma).double()
    v = ((x.double() - d) / sigma - sigma * d) / (sigma ** 2 + 1).sqrt()
    x = s.step(v.float(), t, x).prev_sample
save("d_euler_zero_snr", dict(sampler="euler", steps=12, timesteps=[int(t) for t in s.timesteps], betas="scaled_linear", beta_start=.00085, beta_end=.012,
     spacing="trailing", offset=0, zero_snr=True, clip=0., ve=True), x0, x, Recorder(n, 5))

# What diffusers' other classes and keys do: PNDM, DEIS, IPNDM, dynamic thresholding, the other ladders, the other ends.
def step_run(name, s, meta, at, scale, rec=None, **kw):
    """Steps s from x_T; at(i, t) is (alpha, sigma) told to the score, scale what x is a multiple of x_t by."""
    rec = rec or Recorder(n, 5)
    mod = sys.modules[type(s).__module__]
    old = getattr(mod, "randn_tensor", None)
    if old is not None:
        mod.randn_tensor = lambda shape, **_: rec().reshape(shape)
    x = x0 = torch.randn(n, 2, generator=torch.Generator().manual_seed(1)) * scale
    for i, t in enumerate(s.timesteps):
        a, sd = at(i, t)
        out = (x.double() - a * denoised(x, a, sd).double()) / sd
        if meta.get("sampler") == "ipndm":  # which is told v
            out = (out - sd * x.double()) / a
        extra = dict(eta=meta["eta"]) if "eta" in meta else {}
        x = s.step(out.float()[..., None], t, x[..., None], **extra).prev_sample[..., 0]  # thresholds want more axes than two
    if old is not None:
        mod.randn_tensor = old
    k = s.config
    save("d_" + name, dict(meta, betas=k.get("beta_schedule", ""), beta_start=k.get("beta_start", 0), beta_end=k.get("beta_end", 0),
         spacing=k.get("timestep_spacing", ""), offset=k.get("steps_offset", 0), zero_snr=False, clip=0., **kw), x0, x, rec)

def by_step(name, cls, meta, **kw):
    s = cls(num_train_timesteps=1000, **kw)
    s.set_timesteps(meta["steps"])
    bar = s.alphas_cumprod.double()
    steps = s._timesteps[::-1] if cls is D.PNDMScheduler else s.timesteps
    step_run(name, s, meta, lambda i, t: (bar[int(t)].sqrt(), (1 - bar[int(t)]).sqrt()), 1., timesteps=[int(t) for t in steps],
             denoise=cls is D.DDPMScheduler or kw.get("set_alpha_to_one", False) or kw.get("final_sigmas_type") == "zero")

def by_level(name, cls, meta, **kw):
    """Levels between the training steps: the score is told the level itself."""
    s = cls(num_train_timesteps=1000, **kw)
    s.set_timesteps(meta["steps"])
    rho = s.sigmas.double()
    step_run(name, s, meta, lambda i, t: (1 / (1 + rho[i] ** 2).sqrt(), rho[i] / (1 + rho[i] ** 2).sqrt()), 1.,
             denoise=kw.get("final_sigmas_type") == "zero")

by_step("plms", D.PNDMScheduler, dict(sampler="plms", steps=10), skip_prk_steps=True, steps_offset=1, timestep_spacing="leading", **B)
by_step("plms_to_one", D.PNDMScheduler, dict(sampler="plms", steps=20), skip_prk_steps=True, set_alpha_to_one=True, timestep_spacing="trailing")
by_step("pndm", D.PNDMScheduler, dict(sampler="pndm", steps=10), timestep_spacing="leading")
sines = torch.sin(torch.linspace(.9, 0, 13, dtype=torch.float64) * torch.pi / 2)
s = D.IPNDMScheduler(trained_betas=sines.tolist())
s.set_timesteps(12)
step_run("ipndm", s, dict(sampler="ipndm", steps=12, schedule="sines"), lambda i, t: (s.alphas[i].double(), s.betas[i].double()), 1., denoise=True)
for order in (1, 2, 3):
    for steps in (8, 20):
        by_step(f"deis_{order}_{steps}", D.DEISMultistepScheduler, dict(sampler="deis", order=order, steps=steps), solver_order=order)
by_level("deis_3_karras", D.DEISMultistepScheduler, dict(sampler="deis", order=3, steps=16, schedule="karras"), solver_order=3, use_karras_sigmas=True)
by_step("deis_2_threshold", D.DEISMultistepScheduler, dict(sampler="deis", order=2, steps=20, ratio=.7, most=2.), solver_order=2, thresholding=True,
        dynamic_thresholding_ratio=.7, sample_max_value=2.)
M = D.DPMSolverMultistepScheduler
by_step("dpmpp_2_heun", M, dict(sampler="dpmpp", order=2, steps=20, solver="heun"), solver_order=2, solver_type="heun", final_sigmas_type="zero")
by_step("dpmpp_3_low", M, dict(sampler="dpmpp", order=3, steps=12, lower=15), solver_order=3, final_sigmas_type="sigma_min")
by_step("dpmpp_2_high", M, dict(sampler="dpmpp", order=2, steps=9, lower=-1), solver_order=2, final_sigmas_type="sigma_min", lower_order_final=False)
by_step("dpmpp_2_euler_last", M, dict(sampler="dpmpp", order=2, steps=20, euler_last=True), solver_order=2, final_sigmas_type="sigma_min", euler_at_final=True)
by_step("dpmpp_2_threshold", M, dict(sampler="dpmpp", order=2, steps=20, ratio=.7, most=2.), solver_order=2, final_sigmas_type="zero", thresholding=True,
        dynamic_thresholding_ratio=.7, sample_max_value=2.)
by_level("dpmpp_2_beta", M, dict(sampler="dpmpp", order=2, steps=20, schedule="beta"), solver_order=2, final_sigmas_type="zero", use_beta_sigmas=True)
by_level("dpmpp_2_lu", M, dict(sampler="dpmpp", order=2, steps=20, schedule="lu"), solver_order=2, final_sigmas_type="zero", use_lu_lambdas=True)
by_step("sde_dpmpp_heun", M, dict(sampler="2m_sde_heun", order=2, steps=20, denoise=True), solver_order=2, algorithm_type="sde-dpmsolver++", solver_type="heun", final_sigmas_type="zero")
by_step("unipc_2_threshold", D.UniPCMultistepScheduler, dict(sampler="unipc", order=2, bh="bh2", steps=16, ratio=.7, most=2.), solver_order=2, solver_type="bh2",
        final_sigmas_type="sigma_min", thresholding=True, dynamic_thresholding_ratio=.7, sample_max_value=2.)
for name, kw in [("linspace", {}), ("karras_leading", dict(use_karras_sigmas=True, timestep_spacing="leading", steps_offset=1))]:
    s = D.EulerDiscreteScheduler(num_train_timesteps=1000, **kw, **B)
    s.set_timesteps(12)
    step_run("euler_" + name, s, dict(sampler="euler", steps=12, schedule=name, ve=True), lambda i, t: (torch.ones(()).double(), s.sigmas[i].double()), s.init_noise_sigma,
             denoise=True)
by_step("ddim_threshold", D.DDIMScheduler, dict(sampler="ddim", steps=10, eta=.5, ratio=.7, most=2.), timestep_spacing="leading", clip_sample=False, set_alpha_to_one=True,
        thresholding=True, dynamic_thresholding_ratio=.7, sample_max_value=2.)
by_step("ddpm_threshold", D.DDPMScheduler, dict(sampler="ddpm", steps=20, ratio=.7, most=2.), timestep_spacing="leading", clip_sample=False,
        thresholding=True, dynamic_thresholding_ratio=.7, sample_max_value=2.)

# Stage by stage in VE coordinates: at(s, i) is the level that evaluation i is at.
def staged(name, cls, sampler, at, rec=None, **kw):
    s = cls(num_train_timesteps=1000, **kw, **B)
    s.set_timesteps(12)
    step_run(name, s, dict(sampler=sampler, steps=12, schedule="linspace"), lambda i, t: (torch.ones(()).double(), at(s, i).double()), s.init_noise_sigma, rec=rec, ve=True)

staged("heun", D.HeunDiscreteScheduler, "heun", lambda s, i: s.sigmas[i])
staged("lms", D.LMSDiscreteScheduler, "lms", lambda s, i: s.sigmas[i])
staged("dpm_2", D.KDPM2DiscreteScheduler, "dpm_2", lambda s, i: (s.sigmas_interpol if i % 2 else s.sigmas)[i])
staged("dpm_2_a", D.KDPM2AncestralDiscreteScheduler, "dpm_2_a", lambda s, i: s.sigmas_interpol[i - 1] if i % 2 else s.sigmas[i])
staged("euler_a", D.EulerAncestralDiscreteScheduler, "euler_a", lambda s, i: s.sigmas[i])
mod = sys.modules[D.DPMSolverSDEScheduler.__module__]
mod.BrownianTreeNoiseSampler = recorded(mod.BrownianTreeNoiseSampler)
staged("sde_tree", D.DPMSolverSDEScheduler, "sde", lambda s, i: (s.sigmas[i - 1] * s.sigmas[i]).sqrt() if i % 2 else s.sigmas[i],
       rec=mod.BrownianTreeNoiseSampler, noise_sampler_seed=list(range(n)))

# The intermediate levels of the singlestep scheduler are those of its ladder: in the middle, if that is even in the logarithm.
S = D.DPMSolverSinglestepScheduler
by_level("2s", S, dict(sampler="2s", steps=21, schedule="lu"), solver_order=2, final_sigmas_type="zero", use_exponential_sigmas=True)
by_level("singlestep_2", S, dict(sampler="singlestep", steps=20, schedule="lu"), solver_order=2, algorithm_type="dpmsolver", final_sigmas_type="sigma_min", lower_order_final=True,
         use_exponential_sigmas=True)

# EDM's, of F; with churn diffusers evaluates the network before it, and not after it.
def edm(name, cls, meta, **kw):
    s = cls(sigma_min=.05, sigma_max=8., sigma_data=.5, **kw)
    s.set_timesteps(15)
    x = x0 = torch.randn(n, 2, generator=torch.Generator().manual_seed(1)) * 8
    for t, sigma in zip(s.timesteps, s.sigmas.double()):
        s.scale_model_input(x, t)
        skip, out = .25 / (sigma ** 2 + .25), sigma * .5 / (sigma ** 2 + .25).sqrt()
        x = s.step(((denoised(x, 1., sigma).double() - skip * x.double()) / out).float(), t, x).prev_sample
    save("d_" + name, dict(meta, steps=15), x0, x, Recorder(n, 5))

edm("edm_euler", D.EDMEulerScheduler, dict(sampler="euler"))
for order in (2, 3):
    edm(f"edm_dpmpp_{order}", D.EDMDPMSolverMultistepScheduler, dict(sampler="dpmpp", order=order), solver_order=order)

# Flow matching, of the velocity; x_t has no datum in it at t = 1.
def flow(name, cls, sampler, **kw):
    s = cls(num_train_timesteps=1000, **kw)
    s.set_timesteps(12)
    x = x0 = torch.randn(n, 2, generator=torch.Generator().manual_seed(1))
    for i, t in enumerate(s.timesteps):
        at = s.sigmas[i].double()
        y, v = x.double(), (1 - at) ** 2 * tau ** 2 + at ** 2
        d = y[:, None, :] - (1 - at) * means
        p = torch.softmax(torch.log(weights) - (d ** 2).sum(-1) / (2 * v), 1)
        u = (p[..., None] * (((1 - at) * -tau ** 2 + at) / v * d - means)).sum(1)
        x = s.step(u.float(), t, x).prev_sample
    save("d_" + name, dict(sampler=sampler, steps=12, shift=kw.get("shift", 1.)), x0, x, Recorder(n, 5))

flow("flow_euler", D.FlowMatchEulerDiscreteScheduler, "flow_euler", shift=3.)
flow("flow_heun", D.FlowMatchHeunDiscreteScheduler, "flow_heun")

# Song et al.'s predictor and corrector, as the pipeline has them.
s = D.ScoreSdeVeScheduler(sigma_min=.05, sigma_max=8., snr=.15, correct_steps=2)
s.set_timesteps(30)
s.set_sigmas(30)
rec = Recorder(n, 5)
sys.modules[type(s).__module__].randn_tensor = rec
x = x0 = torch.randn(n, 2, generator=torch.Generator().manual_seed(1)) * s.init_noise_sigma
for i, t in enumerate(s.timesteps):
    sigma = s.sigmas[i].double()
    score = lambda x: ((denoised(x, 1., sigma).double() - x.double()) / sigma ** 2).float()
    for _ in range(s.config.correct_steps):
        x = s.step_correct(score(x), x).prev_sample
    out = s.step_pred(score(x), t, x)
    x = out.prev_sample
save("d_sde_ve", dict(sampler="sde_ve", steps=30), x0, out.prev_sample_mean, rec)
