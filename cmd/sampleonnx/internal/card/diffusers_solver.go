package card

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// solver reads how the process is sampled.
func (k *diffusers) solver(name, process string) {
	order := k.text("solver_order", "2")
	algorithm := k.values["algorithm_type"]
	method, _ := algorithm.(string)
	kind, _ := k.values["solver_type"].(string)
	switch {
	case name == "":
		k.ignore("_class_name", "is a sampler that is not here: the process's usual one is in its place")
	case name == "pndm":
		if k.flag("skip_prk_steps") {
			name = "plms"
		}
	case name == "deis":
		delete(k.values, "algorithm_type") // it has one
	case name == "dpmpp_2m" && method == "dpmsolver" && order == "1":
		name = "euler"
		delete(k.values, "algorithm_type")
	case name == "dpmpp_2m" && method == "dpmsolver":
		// With ε: of order 2 with Heun's method it is DEIS.
		if name = "deis"; order == "2" && kind == "heun" {
			delete(k.values, "algorithm_type")
		} else {
			k.ignore("algorithm_type", "is not here: deis, the exact integral of the same polynomial, is in its place")
		}
	case name == "dpmpp_2m" && method == "sde-dpmsolver++":
		name = map[string]string{"1": "euler_a", "2": "dpmpp_2m_sde", "3": "dpmpp_3m_sde"}[order]
		delete(k.values, "algorithm_type")
	case name == "dpmpp_2m":
		name = map[string]string{"1": "euler", "2": "dpmpp_2m", "3": "dpmpp_3m"}[order]
	case name == "dpmpp_2s_a":
		name = map[string]string{"1": "euler", "2": "dpmpp_2s_a", "3": "dpm3"}[order]
	}
	if method == "dpmsolver++" {
		delete(k.values, "algorithm_type")
	} else if k.values["algorithm_type"] != nil {
		k.ignore("algorithm_type", "is not here: dpmsolver++ is in its place")
	}
	own := k.card.Rank("sampler.name") <= Scheduler
	if name == "" || !own {
		name = k.card.Sampler.Name
	} else {
		k.set("sampler.name", name, "_class_name")
	}
	switch name {
	case "unipc", "deis":
		k.set("sampler.order", order, "solver_order")
	case "dpmpp_2s_a":
		k.set("sampler.eta", "0", "_class_name")
	}
	k.threshold(name)
	k.noise(name)
	k.ladder(name, process)
	k.ending(name)
	k.rest(name)
}

// threshold reads dynamic thresholding, which clipping gives way to.
func (k *diffusers) threshold(name string) {
	ratio, most := k.text("dynamic_thresholding_ratio", "0.995"), k.text("sample_max_value", "1")
	if k.values["thresholding"] != true {
		return
	}
	switch name {
	case "ddpm", "ddim", "deis", "dpmpp_2m", "dpmpp_3m", "dpmpp_2m_sde", "dpmpp_3m_sde", "dpmpp_2s_a", "dpm3", "unipc":
		delete(k.values, "thresholding")
		k.values["clip_sample"] = false
		k.set("sampler.threshold", ratio, "dynamic_thresholding_ratio")
		k.set("sampler.threshold_max", most, "sample_max_value")
	}
}

// ending reads the last steps of multistep solvers, and which of two second orders they have.
func (k *diffusers) ending(name string) {
	switch name {
	case "dpmpp_2m", "dpmpp_3m", "deis":
		if k.text("lower_order_final", "true") == "true" {
			k.set("sampler.lower", "15", "lower_order_final")
		} else {
			k.set("sampler.lower", "-1", "lower_order_final")
		}
	}
	kind, _ := k.values["solver_type"].(string)
	delete(k.values, "solver_type")
	switch name {
	case "dpmpp_2m", "dpmpp_3m":
		if k.flag("euler_at_final") {
			k.set("sampler.euler_last", "true", "euler_at_final")
		}
	}
	switch name {
	case "dpmpp_2m", "dpmpp_2m_sde":
		if kind == "heun" {
			k.set("sampler.solver", kind, "solver_type")
		}
	case "unipc":
		if kind == "bh1" {
			k.set("sampler.solver", kind, "solver_type")
		}
	case "dpmpp_2s_a":
		if kind == "heun" {
			k.values["solver_type"] = kind
			k.ignore("solver_type", "is not here: the midpoint method is in its place")
		}
	}
}

// noise reads how large the noise of steps is, and bounds of x̂_0.
func (k *diffusers) noise(name string) {
	clip, bound := k.flag("clip_sample"), k.text("clip_sample_range", "1")
	switch {
	case clip && (name == "ddpm" || name == "ddim"):
		k.set("sampler.clip", bound, "clip_sample_range")
	case clip:
		k.values["clip_sample"] = true
		k.ignore("clip_sample", "is of ddim and ddpm alone")
	}
	variance := k.text("variance_type", "fixed_small")
	switch variance = strings.TrimSuffix(variance, "_log"); {
	case name != "ddpm":
	case slices.Contains(Variances(), variance):
		k.set("sampler.variance", variance, "variance_type")
	default:
		k.refuse("variance_type", variance, "is not one of "+strings.Join(Variances(), ", "), "sampler.variance")
	}
}

// ladder reads which levels a sampler stops at.
func (k *diffusers) ladder(name, process string) {
	spacing, offset := k.text("timestep_spacing", "linspace"), k.text("steps_offset", "0")
	karras, exponential, beta := k.flag("use_karras_sigmas"), k.flag("use_exponential_sigmas"), k.flag("use_beta_sigmas")
	lu := k.flag("use_lu_lambdas") && !karras
	rho, schedule := k.text("rho", "7"), k.text("sigma_schedule", "karras")
	lo, hi := k.text("sigma_min", ""), k.text("sigma_max", "")
	if clipped, err := strconv.ParseFloat(k.text("lambda_min_clipped", "-inf"), 64); err == nil && !math.IsInf(clipped, 0) && hi == "" {
		hi = strconv.FormatFloat(math.Exp(-clipped), 'g', -1, 64) // λ = −ln ρ; the steps are spaced below
	}
	toZero := k.text("final_sigmas_type", "zero") == "zero" && k.text("set_alpha_to_one", "true") == "true"
	if process == "flow" && strings.HasPrefix(name, "flow_") {
		for key, on := range map[string]bool{"use_karras_sigmas": karras, "use_exponential_sigmas": exponential, "use_beta_sigmas": beta} {
			if on {
				k.values[key] = true
				k.ignore(key, "is not of "+name)
			}
		}
		return
	}
	if !slices.Contains(Descents(), name) {
		return
	}
	switch {
	case process == "edm" && schedule == "exponential":
		k.set("sampler.schedule", "exponential", "sigma_schedule")
	case exponential && !lu:
		k.set("sampler.schedule", "exponential", "use_exponential_sigmas")
	case lu: // even in λ
		k.set("sampler.schedule", "exponential", "use_lu_lambdas")
	case beta:
		k.set("sampler.schedule", "beta", "use_beta_sigmas")
	case process == "edm", karras:
		k.set("sampler.schedule", "karras", "sigma_schedule")
		k.set("sampler.rho", rho, "rho")
	case process == "ddpm":
		k.set("sampler.schedule", "index", "timestep_spacing")
		if spacing == "linspace" && (name == "euler_a" || slices.Contains(SpacedLadders(), name)) {
			spacing = "fractions" // these do not round
		}
		k.set("sampler.spacing", spacing, "timestep_spacing")
		if spacing == "leading" {
			k.set("sampler.offset", offset, "steps_offset")
		}
	}
	if process == "ddpm" && k.card.Sampler.Schedule != "index" && spacing != "linspace" && slices.Contains(SpacedLadders(), name) {
		k.set("sampler.spacing", spacing, "timestep_spacing")
		if spacing == "leading" {
			k.set("sampler.offset", offset, "steps_offset")
		}
	}
	k.set("sampler.denoise", strconv.FormatBool(toZero), "final_sigmas_type")
	if process == "ddpm" && lo != "" {
		k.set("sigma_min", lo, "sigma_min")
	}
	if process == "ddpm" && hi != "" {
		k.set("sigma_max", hi, "sigma_max")
	}
}

// rest reads keys that change nothing at these values, and are ignored at others.
func (k *diffusers) rest(name string) {
	for key, usual := range map[string]string{
		"thresholding": "false", "euler_at_final": "false", "lower_order_final": "true", "predict_x0": "true", "invert_sigmas": "false",
		"stochastic_sampling": "false", "interpolation_type": "linear", "timestep_type": "discrete", "skip_prk_steps": "true",
	} {
		if v, ok := k.values[key]; ok && v != nil && fmt.Sprint(v) != cmp.Or(k.usual[key], usual) {
			k.ignore(key, "is not of "+cmp.Or(name, "the sampler in its place"))
			continue
		}
		delete(k.values, key)
	}
	// These mean something to what is off, or are an empty list.
	for _, key := range []string{"flow_shift", "shift_terminal"} {
		if key != "shift_terminal" || k.values[key] == nil {
			delete(k.values, key)
		}
	}
	if list, ok := k.values["disable_corrector"].([]any); ok && len(list) == 0 {
		delete(k.values, "disable_corrector")
	}
}
