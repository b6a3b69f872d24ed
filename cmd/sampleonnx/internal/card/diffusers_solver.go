package card

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// solver reads how the process is sampled.
func (k *diffusers) solver(name, process string) {
	order := k.text("solver_order", "2")
	algorithm := k.values["algorithm_type"]
	method, _ := algorithm.(string)
	switch {
	case name == "":
		k.ignore("_class_name", "is a sampler that is not here: the process's usual one is in its place")
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
	case "unipc":
		k.set("sampler.order", order, "solver_order")
	case "dpmpp_2s_a":
		k.set("sampler.eta", "0", "_class_name")
	}
	k.noise(name)
	k.ladder(name, process)
	k.rest()
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
	karras, exponential := k.flag("use_karras_sigmas"), k.flag("use_exponential_sigmas")
	rho, schedule := k.text("rho", "7"), k.text("sigma_schedule", "karras")
	lo, hi := k.text("sigma_min", ""), k.text("sigma_max", "")
	toZero := k.text("final_sigmas_type", "zero") == "zero" && k.text("set_alpha_to_one", "true") == "true"
	if process == "flow" && strings.HasPrefix(name, "flow_") {
		for key, on := range map[string]bool{"use_karras_sigmas": karras, "use_exponential_sigmas": exponential} {
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
	case process == "edm" && schedule == "exponential", exponential:
		k.set("sampler.schedule", "exponential", "sigma_schedule")
	case process == "edm", karras:
		k.set("sampler.schedule", "karras", "sigma_schedule")
		k.set("sampler.rho", rho, "rho")
	case process == "ddpm":
		k.set("sampler.schedule", "index", "timestep_spacing")
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
func (k *diffusers) rest() {
	for key, usual := range map[string]string{
		"thresholding": "false", "use_beta_sigmas": "false", "use_lu_lambdas": "false", "euler_at_final": "false", "lower_order_final": "true",
		"predict_x0": "true", "invert_sigmas": "false", "stochastic_sampling": "false", "interpolation_type": "linear", "timestep_type": "discrete",
		"skip_prk_steps": "true", "solver_type": "",
	} {
		v, ok := k.values[key]
		if !ok || v == nil {
			continue
		}
		if text := fmt.Sprint(v); text == usual || key == "solver_type" && slices.Contains([]string{"midpoint", "bh2", "logrho"}, text) {
			delete(k.values, key)
			continue
		}
		k.ignore(key, "is not here")
	}
	// These mean something to what is off, or are an empty list.
	for _, key := range []string{"dynamic_thresholding_ratio", "sample_max_value", "lambda_min_clipped", "flow_shift", "shift_terminal"} {
		if key != "shift_terminal" || k.values[key] == nil {
			delete(k.values, key)
		}
	}
	if list, ok := k.values["disable_corrector"].([]any); ok && len(list) == 0 {
		delete(k.values, "disable_corrector")
	}
}
