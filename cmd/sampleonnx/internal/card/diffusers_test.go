package card

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Configurations as pipelines have them: what they set, and what they say that is not here.
func TestSchedulers(t *testing.T) {
	const sd = `"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "trained_betas": null`
	for _, c := range []struct{ name, text, want, ignored string }{
		{"DDPM of CIFAR-10", `{"_class_name": "DDPMScheduler", "_diffusers_version": "0.1.1", "beta_end": 0.02, "beta_schedule": "linear", "beta_start": 0.0001,
			"clip_sample": true, "num_train_timesteps": 1000, "trained_betas": null, "variance_type": "fixed_large"}`,
			"sde=ddpm levels=1000 time_kind=index_desc output=eps beta_schedule=linear beta_min=0.0001 beta_max=0.02 sampler.name=ddpm sampler.clip=1 " +
				"sampler.variance=fixed_large sampler.schedule=index sampler.spacing=leading sampler.offset=0 sampler.denoise=true", ""},
		{"Stable Diffusion 1", `{"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", ` + sd + `, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1, "clip_sample": false}`,
			"sde=ddpm levels=1000 output=eps beta_schedule=scaled_linear beta_min=0.00085 beta_max=0.012 sampler.name=plms sampler.schedule=index sampler.spacing=leading " +
				"sampler.offset=1 sampler.denoise=false", ""},
		{"PNDM, begun by Runge–Kutta", `{"_class_name": "PNDMScheduler", "set_alpha_to_one": true}`, "sampler.name=pndm sampler.spacing=leading sampler.denoise=true", ""},
		{"Stable Diffusion 2, v", `{"_class_name": "DDIMScheduler", ` + sd + `, "clip_sample": false, "prediction_type": "v_prediction", "set_alpha_to_one": false, "steps_offset": 1}`,
			"output=v sampler.name=ddim sampler.spacing=leading sampler.offset=1 sampler.denoise=false sampler.clip=0", ""},
		{"zero terminal SNR", `{"_class_name": "DDIMScheduler", ` + sd + `, "rescale_betas_zero_snr": true, "timestep_spacing": "trailing", "thresholding": true}`,
			"zero_snr=true sampler.spacing=trailing sampler.clip=0 sampler.threshold=0.995 sampler.threshold_max=1", ""},
		{"Stable Diffusion XL", `{"_class_name": "EulerDiscreteScheduler", ` + sd + `, "clip_sample": false, "interpolation_type": "linear", "prediction_type": "epsilon",
			"sample_max_value": 1.0, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1, "timestep_spacing": "leading", "use_karras_sigmas": false}`,
			"sampler.name=euler sampler.schedule=index sampler.spacing=leading sampler.offset=1", ""},
		{"DPM-Solver++ with Karras's ladder", `{"_class_name": "DPMSolverMultistepScheduler", ` + sd + `, "algorithm_type": "dpmsolver++", "solver_order": 2, "solver_type": "midpoint",
			"use_karras_sigmas": true, "lambda_min_clipped": -Infinity, "lower_order_final": true, "euler_at_final": false, "final_sigmas_type": "zero", "use_lu_lambdas": true}`,
			"sampler.name=dpmpp_2m sampler.schedule=karras sampler.rho=7 sampler.denoise=true sampler.lower=15 sampler.solver= sampler.euler_last=", ""},
		{"SDE-DPM-Solver++", `{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++", "final_sigmas_type": "sigma_min"}`,
			"sampler.name=dpmpp_2m_sde sampler.denoise=false levels=1000 beta_min=0.0001 sampler.spacing=linspace", ""},
		{"DPM-Solver, order 3", `{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver", "solver_order": 3}`, "sampler.name=deis sampler.order=3", "algorithm_type"},
		{"DPM-Solver, Heun", `{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver", "solver_type": "heun", "final_sigmas_type": "sigma_min"}`,
			"sampler.name=deis sampler.order=2 sampler.denoise=false sampler.lower=15", ""},
		{"DPM-Solver++, its other second order and end", `{"_class_name": "DPMSolverMultistepScheduler", "solver_type": "heun", "lower_order_final": false, "euler_at_final": true,
			"final_sigmas_type": "sigma_min", "thresholding": true, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 2.5}`,
			"sampler.name=dpmpp_2m sampler.solver=heun sampler.lower=-1 sampler.euler_last=true sampler.denoise=false sampler.threshold=0.9 sampler.threshold_max=2.5", ""},
		{"DPM-Solver++, even in lambda", `{"_class_name": "DPMSolverMultistepScheduler", "use_lu_lambdas": true}`, "sampler.schedule=exponential", ""},
		{"beta levels between spaced steps", `{"_class_name": "EulerDiscreteScheduler", "use_beta_sigmas": true, "timestep_spacing": "leading", "steps_offset": 1}`,
			"sampler.name=euler sampler.schedule=beta sampler.spacing=leading sampler.offset=1", ""},
		{"thresholds that diffusers does not read", `{"_class_name": "EulerDiscreteScheduler", "thresholding": true}`, "sampler.threshold=0", "thresholding"},
		{"DEIS", `{"_class_name": "DEISMultistepScheduler", "solver_order": 3, "algorithm_type": "dpmsolver++", "solver_type": "bh2", "use_karras_sigmas": true}`,
			"sampler.name=deis sampler.order=3 sampler.schedule=karras sampler.denoise=false sampler.lower=15", ""},
		{"UniPC bh1", `{"_class_name": "UniPCMultistepScheduler", "solver_type": "bh1", "predict_x0": false, "disable_corrector": [0]}`, "sampler.name=unipc sampler.solver=bh1",
			"disable_corrector predict_x0"},
		{"single-step", `{"_class_name": "DPMSolverSinglestepScheduler", "solver_order": 2}`, "sampler.name=dpmpp_2s_a sampler.eta=0", ""},
		{"UniPC", `{"_class_name": "UniPCMultistepScheduler", "solver_order": 3, "solver_type": "bh2", "disable_corrector": [], "predict_x0": true, "solver_p": null, "use_beta_sigmas": false}`,
			"sampler.name=unipc sampler.order=3", ""},
		{"Euler ancestral", `{"_class_name": "EulerAncestralDiscreteScheduler"}`, "sampler.name=euler_a sampler.schedule=index sampler.spacing=fractions", ""},
		{"a clipped cosine", `{"_class_name": "DPMSolverMultistepScheduler", "beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5}`,
			"sampler.name=dpmpp_2m sampler.spacing=linspace sigma_max=148.4131591025766", ""},
		{"a sampler that is not here", `{"_class_name": "SASolverScheduler", "predictor_order": 2}`, "sde=ddpm sampler.name=", "_class_name predictor_order"},
		{"Heun, whose usual betas are others", `{"_class_name": "HeunDiscreteScheduler", "use_exponential_sigmas": true}`, "sampler.name=heun beta_min=0.00085 beta_max=0.012 sampler.schedule=exponential", ""},
		{"KDPM2", `{"_class_name": "KDPM2DiscreteScheduler"}`, "sampler.name=dpm2 beta_min=0.00085", ""},
		{"KDPM2 ancestral", `{"_class_name": "KDPM2AncestralDiscreteScheduler"}`, "sampler.name=dpm2_a", ""},
		{"LMS", `{"_class_name": "LMSDiscreteScheduler", "beta_schedule": "squaredcos_cap_v2"}`, "sampler.name=lms beta_schedule=squaredcos_cap_v2", ""},
		{"trained betas", `{"_class_name": "DDIMScheduler", "num_train_timesteps": 3, "trained_betas": [0.1, 0.2, 0.3], "prediction_type": "sample"}`, "betas=[0.1,0.2,0.3] output=x0", ""},
		{"a range of Euler's", `{"_class_name": "EulerDiscreteScheduler", "sigma_min": 0.1, "sigma_max": 20, "use_karras_sigmas": true}`, "sigma_min=0.1 sigma_max=20", ""},
		{"EDM", `{"_class_name": "EDMEulerScheduler", "sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "rho": 7.0, "prediction_type": "epsilon", "num_train_timesteps": 1000}`,
			"sde=edm output=edm_F time_kind=log_sigma_4 c_in=edm sigma_data=0.5 sigma_min=0.002 sigma_max=80 sampler.name=euler sampler.schedule=karras sampler.rho=7", ""},
		{"Playground", `{"_class_name": "EDMDPMSolverMultistepScheduler", "sigma_schedule": "exponential", "prediction_type": "v_prediction", "solver_order": 3}`,
			"sde=edm output=v sampler.name=dpmpp_3m sampler.schedule=exponential", ""},
		{"Stable Diffusion 3", `{"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}`,
			"sde=flow output=flow time_kind=t_scaled time_scale=1000 levels=1000 shift=3 sampler.name=flow_euler", ""},
		{"FLUX", `{"_class_name": "FlowMatchEulerDiscreteScheduler", "base_image_seq_len": 256, "base_shift": 0.5, "max_image_seq_len": 4096, "max_shift": 1.15, "shift": 3.0, "use_dynamic_shifting": true}`,
			"shift=3", "use_dynamic_shifting"},
		{"flow sigmas of another solver", `{"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": true, "flow_shift": 5.0, "prediction_type": "flow_prediction"}`,
			"sde=flow output=flow shift=5 sampler.name=unipc", ""},
		{"NCSN++", `{"_class_name": "ScoreSdeVeScheduler", "correct_steps": 1, "num_train_timesteps": 2000, "sampling_eps": 1e-05, "sigma_max": 1348, "sigma_min": 0.01, "snr": 0.075}`,
			"sde=ve output=score time_kind=sigma sigma_min=0.01 sigma_max=1348 sampler.name=pc sampler.n=2000 sampler.snr=0.075 sampler.corrector_steps=1 t_eps=1e-05", ""},
		{"DDPM++", `{"_class_name": "ScoreSdeVpScheduler"}`, "sde=vp output=eps beta_min=0.1 beta_max=20 sampler.n=2000 t_eps=0.001 time_kind=", ""},
		{"a class of its own", `{"_class_name": "LCMScheduler", "original_inference_steps": 50}`, "sde= output=", "_class_name"},
		{"a new key", `{"_class_name": "DDIMScheduler", "clip_sample": false, "telepathy": 3, "_name_or_path": "x"}`, "sampler.name=ddim", "telepathy"},
	} {
		var k Card
		if err := k.SetScheduler([]byte(c.text), "scheduler_config.json"); err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		for pair := range strings.FieldsSeq(c.want) {
			key, want, _ := strings.Cut(pair, "=")
			got := ""
			for _, line := range k.Lines() {
				if line.Key != key {
					continue
				}
				if got = strings.ReplaceAll(fmt.Sprint(line.Value), " ", ","); line.From != "scheduler_config.json" && !strings.HasPrefix(line.From, "scheduler_config.json ") {
					t.Errorf("%s: %s comes from %q", c.name, key, line.From)
				}
			}
			if want == "0" && got == "" {
				continue // not set
			}
			if got != want {
				t.Errorf("%s: %s is %q, want %q", c.name, key, got, want)
			}
		}
		var ignored []string
		for _, v := range k.Ignored {
			ignored = append(ignored, v.Key)
		}
		if got := strings.Join(ignored, " "); got != c.ignored {
			t.Errorf("%s: ignored %q, want %q (%v)", c.name, got, c.ignored, k.Ignored)
		}
	}
}

// What would make another network of it is an error, in one line that names file, key and flag; unless the card has it from elsewhere.
func TestSchedulersRefused(t *testing.T) {
	for text, want := range map[string]string{
		`[]`: "not a JSON object",
		`{"_class_name": "DDIMScheduler", "prediction_type": "score"}`:              `prediction_type "score" is no output of this process; give --set output=`,
		`{"_class_name": "DDIMScheduler", "beta_schedule": "laplace"}`:              `beta_schedule "laplace" is not one of linear`,
		`{"_class_name": "DDPMScheduler", "variance_type": "learned_range"}`:        "a second output",
		`{"_class_name": "DDPMScheduler", "num_train_timesteps": "many"}`:           "want an integer",
		`{"_class_name": "DDPMScheduler", "num_train_timesteps": [1]}`:              `key "num_train_timesteps": want a word or a number`,
		`{"_class_name": "DDPMScheduler", "trained_betas": [0.1, 2]}`:               "want numbers between 0 and 1",
		`{"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "sideways"}`: `"sideways" is not one of linspace`,
		`{"_class_name": "EDMEulerScheduler", "sigma_max": -1}`:                     "want more than 0",
	} {
		var c Card
		err := c.SetScheduler([]byte(text), "dir/scheduler_config.json")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "dir/scheduler_config.json") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	var c Card
	if err := c.SetText("output", "score", Source{Flag, "--set output"}); err != nil {
		t.Fatal(err)
	}
	if err := c.SetScheduler([]byte(`{"_class_name": "DDIMScheduler", "prediction_type": "score"}`), "f"); err != nil || c.Output != "score" || len(c.Ignored) != 1 {
		t.Errorf("%v %+v", err, c.Ignored)
	}
	// A card of another process has no use for the file.
	c = Card{}
	if err := c.SetText("sde", "vp", Source{Sidecar, "s"}); err != nil {
		t.Fatal(err)
	}
	if err := c.SetScheduler([]byte(`{"_class_name": "DDIMScheduler"}`), "f"); err != nil || c.Has("beta_min") || len(c.Ignored) != 1 {
		t.Errorf("%v %+v", err, c)
	}
}

// Of a scheduler that is not known the file is of no use, and what is missing says so.
func TestUnknownScheduler(t *testing.T) {
	var c Card
	if err := c.SetScheduler([]byte(`{"_class_name": "LCMScheduler", "prediction_type": "epsilon"}`), "scheduler_config.json"); err != nil || len(c.From) != 0 {
		t.Errorf("%v %+v", err, c.From)
	}
	want := "what the network returns (scheduler_config.json: _class_name LCMScheduler is not known, and so nothing of the file is used): give --set output="
	if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestSchedulerFile(t *testing.T) {
	var c Card
	dir := t.TempDir()
	if err := c.ReadScheduler(filepath.Join(dir, SchedulerFile)); err != nil || len(c.From) != 0 {
		t.Errorf("no file: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, SchedulerFile), make([]byte, maxFile+1), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := c.ReadScheduler(filepath.Join(dir, SchedulerFile)); err == nil || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("a large file: %v", err)
	}
}
