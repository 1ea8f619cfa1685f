namespace LoraNet.Cli.Settings;

/// <summary>Every setting of <c>train</c>; the other commands take some of them.</summary>
internal static class TrainSettings
{
    private const string Model = "model", Data = "data", Lora = "lora", Train = "training", Eval = "evaluation", Output = "output", Device = "device";

    /// <summary>All settings in the order of --help.</summary>
    public static IReadOnlyList<Setting> All { get; } =
    [
        new("model", SettingKind.Text, Model, "Folder of a Hugging Face model: config.json and safetensors.") { Short = "-m", RecipeAliases = ["model_name_or_path", "base_model"] },
        new("adapter", SettingKind.Text, Model, "Adapter folder to start from; its settings are kept.") { Short = "-a" },
        new("data", SettingKind.Text, Data, "Training data: .jsonl, .json, .csv, .txt, or a folder of such files.") { Short = "-d", RecipeAliases = ["dataset", "train_data"] },
        new("eval-data", SettingKind.Text, Data, "Held-out data, evaluated during training.") { RecipeAliases = ["eval_dataset", "validation_data"] },
        new("val-split", SettingKind.Number, Data, "Share of the training data held out when there is no --eval-data.") { RecipeAliases = ["val_set_size", "val_size"] },
        new("max-length", SettingKind.Integer, Data, "Longest sample in tokens; longer ones are cut and counted.") { RecipeAliases = ["max_seq_length", "cutoff_len", "sequence_len"], Default = "2048" },
        new("packing", SettingKind.Switch, Data, "Put several samples into one row; they do not see each other.") { RecipeAliases = ["sample_packing", "neat_packing"] },
        new("train-on", SettingKind.Choice, Data, "Which tokens are trained: answers, the last answer, or all.") { Choices = ["assistant", "last", "all"], Default = "assistant" },
        new("chat-template", SettingKind.Text, Data, "Layout of conversations when it is not the tokenizer's own: chatml, llama3, mistral, gemma, phi3, zephyr, alpaca, or a Jinja file."),
        new("data-cache", SettingKind.Text, Data, "Folder that keeps tokenised data for later runs."),
        new("output", SettingKind.Text, Output, "Folder for the adapter, metrics and report.") { Short = "-o", RecipeAliases = ["output_dir"] },
        new("resume", SettingKind.Switch, Output, "Continue from the newest complete checkpoint in the output folder."),
        new("preset", SettingKind.Choice, Lora, "Settings for a GPU: rank, alpha, targets, learning rate, dropout.") { Choices = ["t4", "l4", "a100", "h100", "auto"] },
        new("method", SettingKind.Choice, Lora, "LoRA or another method of PEFT.") { Choices = ["lora", "adalora", "vera", "ia3", "loha", "lokr"], RecipeAliases = ["peft_type"], Default = "lora" },
        new("rank", SettingKind.Integer, Lora, "Rank r of the adapter; init_r of AdaLoRA. VeRA starts from 256, AdaLoRA from 12.") { Short = "-r", RecipeAliases = ["r", "lora_r", "lora_rank"], Default = "16" },
        new("alpha", SettingKind.Number, Lora, "The adapter's output is scaled by alpha / r.") { RecipeAliases = ["lora_alpha"], Default = "32" },
        new("dropout", SettingKind.Number, Lora, "Probability of dropping an input of the adapter while training.") { RecipeAliases = ["lora_dropout"], Default = "0" },
        new("target-modules", SettingKind.List, Lora, "Adapted modules: names, 'all-linear', or 'regex:…' for the whole path.") { RecipeAliases = ["lora_target", "lora_target_modules"], Default = "all-linear" },
        new("target-parameters", SettingKind.List, Lora, "Parameters adapted by name, for fused experts: mlp.experts.gate_up_proj,mlp.experts.down_proj."),
        new("exclude-modules", SettingKind.List, Lora, "Modules left out."),
        new("use-rslora", SettingKind.Switch, Lora, "Scale by alpha / √r."),
        new("use-dora", SettingKind.Switch, Lora, "Weight-decomposed LoRA."),
        new("lora-bias", SettingKind.Switch, Lora, "A bias on B."),
        new("init", SettingKind.Choice, Lora, "How A and B start.") { Choices = ["kaiming", "kaiming-a0", "gaussian", "pissa", "olora", "orthogonal", "mica", "eva", "random"], RecipeAliases = ["init_lora_weights"], Default = "kaiming" },
        new("eva-rho", SettingKind.Number, Lora, "EVA: a module's rank grows to at most so many times --rank.") { Default = "2" },
        new("eva-tau", SettingKind.Number, Lora, "EVA: cosine with the last batch's components from which they count as found.") { Default = "0.99" },
        new("bias", SettingKind.Choice, Lora, "Base biases trained with the adapter.") { Choices = ["none", "all", "lora_only"], Default = "none" },
        new("modules-to-save", SettingKind.List, Lora, "Modules trained whole, as copies."),
        new("rank-pattern", SettingKind.Json, Lora, "Rank by module name pattern, such as {\"q_proj\": 16}."),
        new("alpha-pattern", SettingKind.Json, Lora, "Alpha by module name pattern."),
        new("layers-to-transform", SettingKind.List, Lora, "Layer numbers to adapt."),
        new("layers-pattern", SettingKind.List, Lora, "Name of the layer list, such as layers or h."),
        new("feedforward-modules", SettingKind.List, Lora, "IA3: targets whose inputs are scaled instead of their outputs."),
        new("rank-dropout", SettingKind.Number, Lora, "LoHa, LoKr: probability of dropping an output row of the change in a step.") { Default = "0" },
        new("module-dropout", SettingKind.Number, Lora, "LoHa, LoKr: probability of leaving a module's change out of a step.") { Default = "0" },
        new("rank-dropout-scale", SettingKind.Switch, Lora, "LoKr: scale the rows that rank dropout keeps."),
        new("decompose-both", SettingKind.Switch, Lora, "LoKr: the first matrix may be a product too."),
        new("decompose-factor", SettingKind.Integer, Lora, "LoKr: size of the first matrix; -1 for sides as equal as possible.") { Default = "-1" },
        new("projection-seed", SettingKind.Integer, Lora, "VeRA: seed of the shared matrices.") { RecipeAliases = ["projection_prng_key"], Default = "0" },
        new("save-projection", SettingKind.Switch, Lora, "VeRA: store the shared matrices with the adapter.") { Default = "true" },
        new("d-initial", SettingKind.Number, Lora, "VeRA: first value of the inner vector.") { Default = "0.1" },
        new("target-rank", SettingKind.Integer, Lora, "AdaLoRA: mean rank at the end.") { RecipeAliases = ["target_r"], Default = "8" },
        new("tinit", SettingKind.Integer, Lora, "AdaLoRA: steps before ranks shrink.") { Default = "0" },
        new("tfinal", SettingKind.Integer, Lora, "AdaLoRA: steps at the end with the final ranks.") { Default = "0" },
        new("delta-t", SettingKind.Integer, Lora, "AdaLoRA: steps between allocations.") { RecipeAliases = ["deltaT"], Default = "1" },
        new("orth-reg-weight", SettingKind.Number, Lora, "AdaLoRA: weight of the orthogonality penalty.") { Default = "0.5" },
        new("lora-plus-ratio", SettingKind.Number, Lora, "Learning rate of B over that of A (LoRA+).") { RecipeAliases = ["loraplus_lr_ratio"], Default = "1" },
        new("lora-fa", SettingKind.Switch, Lora, "Freeze A and project B's gradient (LoRA-FA): inputs of adapted layers need not be kept."),
        new("full", SettingKind.Switch, Lora, "Train every weight instead of an adapter."),
        new("batch-size", SettingKind.Integer, Train, "Rows of a micro-batch.") { Short = "-b", RecipeAliases = ["per_device_train_batch_size", "micro_batch_size"], Default = "8" },
        new("gradient-accumulation", SettingKind.Integer, Train, "Micro-batches of a step.") { RecipeAliases = ["gradient_accumulation_steps"], Default = "1" },
        new("epochs", SettingKind.Number, Train, "Passes over the data.") { RecipeAliases = ["num_epochs", "num_train_epochs"], Default = "3" },
        new("max-steps", SettingKind.Integer, Train, "Optimizer steps; beats --epochs and sets the schedule's length."),
        new("no-shuffle", SettingKind.Switch, Train, "Keep the order of the file."),
        new("seed", SettingKind.Integer, Train, "Seed of initialisation, order and dropout.") { Default = "42" },
        new("learning-rate", SettingKind.Number, Train, "Peak learning rate.") { RecipeAliases = ["lr"], Default = "2e-4" },
        new("weight-decay", SettingKind.Number, Train, "Decoupled decay of every trainable tensor.") { Default = "0" },
        new("adam-beta1", SettingKind.Number, Train, "Decay of the first moment.") { Default = "0.9" },
        new("adam-beta2", SettingKind.Number, Train, "Decay of the second moment.") { Default = "0.999" },
        new("adam-eps", SettingKind.Number, Train, "Added to the root of the second moment.") { RecipeAliases = ["adam_epsilon"], Default = "1e-8" },
        new("lr-scheduler", SettingKind.Choice, Train, "Shape of the learning rate over the run.") { Choices = ["constant", "constant-with-warmup", "linear", "cosine", "cosine-with-restarts", "polynomial", "inverse-sqrt"], RecipeAliases = ["lr_scheduler_type"], Default = "linear" },
        new("warmup-steps", SettingKind.Integer, Train, "Warm-up steps; beats --warmup-ratio."),
        new("warmup-ratio", SettingKind.Number, Train, "Warm-up as a share of all steps.") { Default = "0" },
        new("max-grad-norm", SettingKind.Number, Train, "Largest gradient norm; 0 for no clipping.") { Default = "1" },
        new("eval-steps", SettingKind.Integer, Eval, "Evaluate every so many steps; 0 only at the end.") { Default = "0" },
        new("early-stopping-patience", SettingKind.Integer, Eval, "Stop after so many evaluations without a better loss.") { Default = "0" },
        new("save-steps", SettingKind.Integer, Output, "Write a checkpoint every so many steps.") { Default = "0" },
        new("save-total-limit", SettingKind.Integer, Output, "Keep the newest so many checkpoints, and the best; 0 for all.") { Default = "0" },
        new("log-steps", SettingKind.Integer, Output, "Print a line every so many steps.") { RecipeAliases = ["logging_steps"] },
        new("device", SettingKind.Text, Device, "auto, cpu, cuda or cuda:N.") { Default = "auto" },
        new("dtype", SettingKind.Choice, Device, "Type of activations.") { Choices = ["auto", "f32", "bf16", "f16"], Default = "auto" },
        new("base-quantization", SettingKind.Choice, Device, "How the frozen weights are kept.") { Choices = ["none", "int8", "nf4"], Default = "none" },
        new("threads", SettingKind.Integer, Device, "Worker threads; all cores when not given."),
        new("low-memory", SettingKind.Switch, Device, "Read weights from the mapped files instead of packed copies: less memory, a little slower."),
        new("activations", SettingKind.Choice, Device, "What the backward finds and what it computes again: less memory for some time.") { Choices = ["auto", "keep", "norms", "selective", "recompute"], RecipeAliases = ["activation_policy"], Default = "auto" },
        new("profile", SettingKind.Switch, Device, "Print where the time went."),
    ];

    /// <summary>The setting of this name.</summary>
    public static Setting Find(string name) => All.First(s => s.Name == name);

    /// <summary>Settings by name, in the order given.</summary>
    public static IReadOnlyList<Setting> Some(params IReadOnlyList<string> names) => [.. names.Select(Find)];
}
