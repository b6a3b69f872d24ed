package card

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// SchedulerFile is what diffusers calls the description of a process and its sampler.
const SchedulerFile = "scheduler_config.json"

// scheduler is what a class of diffusers' schedulers is here.
type scheduler struct {
	process string // the card's sde
	sampler string // "" where there is none of its kind
	// What its constructor takes for a key that the file leaves out, where it is not what most take.
	usual map[string]string
}

// schedulers are the classes by name, without "Scheduler".
var schedulers = map[string]scheduler{
	"DDPM":                   {"ddpm", "ddpm", map[string]string{"timestep_spacing": "leading", "clip_sample": "true"}},
	"DDIM":                   {"ddpm", "ddim", map[string]string{"timestep_spacing": "leading", "clip_sample": "true"}},
	"PNDM":                   {"ddpm", "pndm", map[string]string{"timestep_spacing": "leading", "set_alpha_to_one": "false"}},
	"DEISMultistep":          {"ddpm", "deis", map[string]string{"solver_type": "logrho", "final_sigmas_type": "sigma_min"}},
	"EulerDiscrete":          {"ddpm", "euler", nil},
	"EulerAncestralDiscrete": {"ddpm", "euler_a", nil},
	"HeunDiscrete":           {"ddpm", "heun", latent},
	"KDPM2Discrete":          {"ddpm", "dpm2", latent},
	"KDPM2AncestralDiscrete": {"ddpm", "dpm2_a", latent},
	"LMSDiscrete":            {"ddpm", "lms", nil},
	"DPMSolverMultistep":     {"ddpm", "dpmpp_2m", nil},
	"DPMSolverSinglestep":    {"ddpm", "dpmpp_2s_a", map[string]string{"lower_order_final": "false"}},
	"DPMSolverSDE":           {"ddpm", "dpmpp_sde", latent},
	"SASolver":               {"ddpm", "", nil},
	"DDIMParallel":           {"ddpm", "ddim", map[string]string{"timestep_spacing": "leading", "clip_sample": "true"}},
	"DDPMParallel":           {"ddpm", "ddpm", map[string]string{"timestep_spacing": "leading", "clip_sample": "true"}},
	"UniPCMultistep":         {"ddpm", "unipc", map[string]string{"solver_type": "bh2"}},
	"EDMEuler":               {"edm", "euler", nil},
	"EDMDPMSolverMultistep":  {"edm", "dpmpp_2m", nil},
	"FlowMatchEulerDiscrete": {"flow", "flow_euler", nil},
	"FlowMatchHeunDiscrete":  {"flow", "flow_heun", nil},
	"ScoreSdeVe":             {"ve", "pc", nil},
	"ScoreSdeVp":             {"vp", "pc", nil},
}

// latent are the betas of latent diffusion.
var latent = map[string]string{"beta_start": "0.00085", "beta_end": "0.012"}

// Ignored is a key of a scheduler's configuration that has no effect here.
type Ignored struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
	Why   string `json:"why"`
}

// ReadScheduler sets the fields that diffusers' configuration gives; there need not be one.
func (c *Card) ReadScheduler(name string) error {
	text, err := read(Source{Scheduler, name})
	if text == nil || err != nil {
		return err
	}
	return c.SetScheduler(text, name)
}

// infinite matches what Python writes for numbers that JSON does not have.
var infinite = regexp.MustCompile(`([:\[,]\s*)(-?Infinity|NaN)`)

// SetScheduler sets the fields that diffusers' configuration in a file of that name gives. What it says and this project cannot do is noted in
// c.Ignored, or, where ignoring it would make another network of it, an error.
func (c *Card) SetScheduler(text []byte, name string) error {
	d := json.NewDecoder(strings.NewReader(infinite.ReplaceAllString(string(text), "${1}null")))
	d.UseNumber()
	k := &diffusers{card: c, file: name}
	if err := d.Decode(&k.values); err != nil {
		return &Error{Source{Scheduler, name}, "not a JSON object: " + strings.TrimPrefix(err.Error(), "json: ")}
	}
	class, _ := k.values["_class_name"].(string)
	kind, ok := schedulers[strings.TrimSuffix(class, "Scheduler")]
	process := kind.process
	if k.usual = kind.usual; k.flag("use_flow_sigmas") {
		process = "flow"
	}
	switch {
	case !ok:
		k.ignore("_class_name", "is not known, and so nothing of the file is used")
		return nil
	case c.Rank("sde") > Scheduler && c.SDE != process:
		k.ignore("_class_name", "is of the process "+process+", and the card says "+c.SDE)
		return nil
	}
	k.set("sde", process, "_class_name")
	switch process {
	case "ddpm":
		k.chain()
	case "edm":
		k.edm()
	case "flow":
		k.flow()
	case "ve":
		k.ve()
	case "vp":
		k.vp()
	}
	if process == "ddpm" || process == "edm" || process == "flow" {
		k.solver(kind.sampler, process)
	}
	for _, key := range slices.Sorted(maps.Keys(k.values)) {
		if k.values[key] != nil && !strings.HasPrefix(key, "_") {
			k.ignore(key, "is not known")
		}
	}
	slices.SortFunc(c.Ignored, func(a, b Ignored) int { return strings.Compare(a.Key, b.Key) })
	return k.err
}

// diffusers reads a configuration: every key that is asked for is taken out of the values.
type diffusers struct {
	card   *Card
	file   string
	values map[string]any
	usual  map[string]string
	err    error
}

// ignore notes a key that has no effect.
func (k *diffusers) ignore(key, why string) {
	k.card.Ignored = append(k.card.Ignored, Ignored{key, k.values[key], why})
	delete(k.values, key)
}

// refuse is an error about a key, unless the card's own key was given by a stronger source.
func (k *diffusers) refuse(key, value, why, own string) {
	if k.card.Rank(own) > Scheduler {
		k.ignore(key, why)
	} else if k.err == nil {
		k.err = &Error{Source{Scheduler, k.file}, fmt.Sprintf("%s %q %s; give --set %s=…", key, value, why, own)}
	}
}

// text is a key's value as text, or the class's default, or the given one.
func (k *diffusers) text(key, otherwise string) string {
	if usual, ok := k.usual[key]; ok {
		otherwise = usual
	}
	v, ok := k.values[key]
	delete(k.values, key)
	if !ok || v == nil {
		return otherwise
	}
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	}
	if k.err == nil {
		k.err = &Error{Source{Scheduler, k.file}, fmt.Sprintf("key %q: want a word or a number, have %s", key, show(v))}
	}
	return otherwise
}

func (k *diffusers) flag(key string) bool { return k.text(key, "false") == "true" }

// set is one field, from a key of the configuration.
func (k *diffusers) set(own, value, key string) {
	if k.err == nil {
		k.err = k.card.SetText(own, value, Source{Scheduler, k.file + " " + key})
	}
}

// carry sets a field to a key's value.
func (k *diffusers) carry(own, key, otherwise string) { k.set(own, k.text(key, otherwise), key) }

// output sets what the network returns, by the words of prediction_type.
func (k *diffusers) output(usual string, words map[string]string) {
	word := k.text("prediction_type", usual)
	if output, ok := words[word]; ok {
		k.set("output", output, "prediction_type")
		return
	}
	k.refuse("prediction_type", word, "is no output of this process", "output")
}

// chain reads the process of DDPM.
func (k *diffusers) chain() {
	k.carry("levels", "num_train_timesteps", "1000")
	k.set("time_kind", "index_desc", "_class_name")
	k.output("epsilon", map[string]string{"epsilon": "eps", "sample": "x0", "v_prediction": "v"})
	first, last, schedule := k.text("beta_start", "0.0001"), k.text("beta_end", "0.02"), k.text("beta_schedule", "linear")
	if betas := k.values["trained_betas"]; betas != nil {
		if text, err := json.Marshal(betas); err == nil {
			k.set("betas", string(text), "trained_betas")
		}
		delete(k.values, "trained_betas")
	} else if slices.Contains([]string{"linear", "scaled_linear", "squaredcos_cap_v2"}, schedule) {
		k.set("beta_schedule", schedule, "beta_schedule")
		k.set("beta_min", first, "beta_start")
		k.set("beta_max", last, "beta_end")
	} else {
		k.refuse("beta_schedule", schedule, "is not one of linear, scaled_linear, squaredcos_cap_v2", "betas")
	}
	if k.flag("rescale_betas_zero_snr") {
		k.set("zero_snr", "true", "rescale_betas_zero_snr")
	}
	if v := k.text("variance_type", "fixed_small"); strings.HasPrefix(v, "learned") {
		k.refuse("variance_type", v, "means a network with a second output", "output")
	} else {
		k.values["variance_type"] = v // which noise asks for
	}
}

// edm reads that of EDM, whose networks are raw.
func (k *diffusers) edm() {
	k.carry("sigma_min", "sigma_min", "0.002")
	k.carry("sigma_max", "sigma_max", "80")
	k.carry("sigma_data", "sigma_data", "0.5")
	k.set("c_in", "edm", "_class_name")
	k.set("time_kind", "log_sigma_4", "_class_name")
	k.output("epsilon", map[string]string{"epsilon": "edm_F", "v_prediction": "v"})
	k.text("num_train_timesteps", "")
}

// flow reads that of flow matching.
func (k *diffusers) flow() {
	steps := k.text("num_train_timesteps", "1000")
	k.set("levels", steps, "num_train_timesteps")
	k.set("time_scale", steps, "num_train_timesteps")
	k.set("time_kind", "t_scaled", "_class_name")
	k.output("flow_prediction", map[string]string{"flow_prediction": "flow", "sample": "x0", "epsilon": "eps"})
	k.set("shift", k.text("flow_shift", k.text("shift", "1")), "shift")
	if k.values["use_dynamic_shifting"] == true {
		k.ignore("use_dynamic_shifting", "depends on the size of an image: give --set shift=…")
	}
	for _, key := range []string{"use_dynamic_shifting", "base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len", "time_shift_type",
		"beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr"} {
		delete(k.values, key)
	}
}

// ve reads that of Song et al.'s variance-exploding networks, with their sampler.
func (k *diffusers) ve() {
	k.carry("sigma_min", "sigma_min", "0.01")
	k.carry("sigma_max", "sigma_max", "1348")
	k.carry("t_eps", "sampling_eps", "1e-5")
	k.set("output", "score", "_class_name")
	k.set("time_kind", "sigma", "_class_name")
	k.set("sampler.name", "pc", "_class_name")
	k.set("sampler.predictor", "reverse_diffusion", "_class_name")
	k.set("sampler.corrector", "langevin", "_class_name")
	k.carry("sampler.n", "num_train_timesteps", "2000")
	k.carry("sampler.snr", "snr", "0.15")
	k.carry("sampler.corrector_steps", "correct_steps", "1")
}

// vp reads that of their variance-preserving networks. What those are told as time the file does not say.
func (k *diffusers) vp() {
	k.carry("beta_min", "beta_min", "0.1")
	k.carry("beta_max", "beta_max", "20")
	k.carry("t_eps", "sampling_eps", "1e-3")
	k.set("output", "eps", "_class_name")
	k.set("sampler.name", "pc", "_class_name")
	k.set("sampler.predictor", "euler_maruyama", "_class_name")
	k.set("sampler.corrector", "none", "_class_name")
	k.carry("sampler.n", "num_train_timesteps", "2000")
}
