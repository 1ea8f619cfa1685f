using LoraNet.Formats;

namespace LoraNet.Cli.Tests;

/// <summary>Every mistake gives one clear line on standard error, exit code 2, no stack trace, nothing on standard output, and no new file.</summary>
public sealed class UserErrorTests
{
    private const string Good = "{\"input_ids\":[1,2,3,4]}\n";

    public static TheoryData<string, string[], string[]> Mistakes() => new()
    {
        // name, arguments ({model} {rows} {out} are replaced), words the message must hold
        { "no command", [], ["Name a command"] },
        { "unknown command", ["trian"], ["'trian'", "train"] },
        { "unknown flag", ["train", "--lerning-rate", "1"], ["--lerning-rate", "--learning-rate"] },
        { "unknown flag after a list", ["train", "--target-modules", "q_proj", "--lerning-rate", "1"], ["--lerning-rate", "--learning-rate"] },
        { "unknown flag as a value", ["train", "--output", "--mdel"], ["--mdel", "--model"] },
        { "stray word", ["train", "--model", "{model}", "stray"], ["'stray'"] },
        { "flag twice", ["train", "--rank", "1", "--rank", "2"], ["--rank"] },
        { "flag without value", ["train", "--rank"], ["--rank"] },
        { "no model", ["train", "--data", "{rows}", "-o", "{out}"], ["--model"] },
        { "no data", ["train", "--model", "{model}", "-o", "{out}"], ["--data"] },
        { "no output", ["train", "--model", "{model}", "--data", "{rows}"], ["--output"] },
        { "model missing", ["train", "--model", "/no/such/model", "--data", "{rows}", "-o", "{out}"], ["/no/such/model"] },
        { "model is a file", ["train", "--model", "{rows}", "--data", "{rows}", "-o", "{out}"], ["is a file"] },
        { "model without config", ["train", "--model", "{empty}", "--data", "{rows}", "-o", "{out}"], ["config.json"] },
        { "model without weights", ["train", "--model", "{noweights}", "--data", "{rows}", "-o", "{out}"], ["model.safetensors"] },
        { "model type unknown", ["train", "--model", "{unknowntype}", "--data", "{rows}", "-o", "{out}"], ["model_type", "lama", "llama"] },
        { "adapter as model", ["train", "--model", "{adapter}", "--data", "{rows}", "-o", "{out}"], ["config.json"] },
        { "data missing", ["train", "--model", "{model}", "--data", "/no/such.jsonl", "-o", "{out}"], ["/no/such.jsonl"] },
        { "data empty", ["train", "--model", "{model}", "--data", "{emptyfile}", "-o", "{out}"], ["no rows"] },
        { "data not JSON", ["train", "--model", "{model}", "--data", "{badjson}", "-o", "{out}"], ["line 2"] },
        { "data not an object", ["train", "--model", "{model}", "--data", "{notobject}", "-o", "{out}"], ["line 2", "object"] },
        { "unknown row form", ["train", "--model", "{model}", "--data", "{unknownform}", "-o", "{out}"], ["line 1", "txet"] },
        { "text without tokenizer", ["train", "--model", "{model}", "--data", "{text}", "-o", "{out}"], ["tokenizer"] },
        { "lengths disagree", ["train", "--model", "{model}", "--data", "{lengths}", "-o", "{out}"], ["line 1", "labels"] },
        { "id outside vocabulary", ["train", "--model", "{model}", "--data", "{bigid}", "-o", "{out}"], ["line 2", "9999"] },
        { "negative id", ["train", "--model", "{model}", "--data", "{negative}", "-o", "{out}"], ["-5"] },
        { "labels all masked", ["train", "--model", "{model}", "--data", "{masked}", "-o", "{out}"], ["masked"] },
        { "one row masked", ["train", "--model", "{model}", "--data", "{onemasked}", "-o", "{out}"], ["line 2", "no trained token"] },
        { "eval data missing", ["train", "--model", "{model}", "--data", "{rows}", "--eval-data", "/no/such.jsonl", "-o", "{out}"], ["/no/such.jsonl"] },
        { "split and eval data", ["train", "--model", "{model}", "--data", "{rows}", "--eval-data", "{rows}", "--val-split", "0.5", "-o", "{out}"], ["--val-split", "--eval-data"] },
        { "split of nothing", ["train", "--model", "{model}", "--data", "{onerow}", "--val-split", "0.5", "-o", "{out}"], ["onerow.jsonl"] },
        { "split of everything", ["train", "--model", "{model}", "--data", "{rows}", "--val-split", "1.5", "-o", "{out}"], ["val-split"] },
        { "output is a file", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{rows}"], ["is a file"] },
        { "output is the model", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{model}"], ["model's own folder"] },
        { "output below a file", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{rows}/x"], ["rows.jsonl"] },
        { "output below /proc", ["train", "--model", "{model}", "--data", "{rows}", "-o", "/proc/loranet"], ["/proc/loranet"] },
        { "rank not a number", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--rank", "many"], ["--rank", "many"] },
        { "rank zero", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--rank", "0"], ["Rank 0"] },
        { "rank fraction", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--rank", "1.5"], ["--rank"] },
        { "dropout of one", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--dropout", "1"], ["Dropout 1"] },
        { "alpha infinite", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--alpha", "inf"], ["--alpha"] },
        { "negative learning rate", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--learning-rate", "-1"], ["learning-rate"] },
        { "batch size zero", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--batch-size", "0"], ["batch-size"] },
        { "max length of one", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--max-length", "1"], ["--max-length"] },
        { "log steps zero", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--log-steps", "0"], ["--log-steps"] },
        { "negative seed", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--seed", "-1"], ["seed"] },
        { "unknown scheduler", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--lr-scheduler", "cosin"], ["cosin", "cosine"] },
        { "unknown preset", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--preset", "a1000"], ["a1000", "a100"] },
        { "unknown init", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--init", "pissaa"], ["pissaa"] },
        { "target unmatched", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--target-modules", "q_prj"], ["q_prj", "q_proj"] },
        { "one target unmatched", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--target-modules", "v_proj,q_prj"], ["q_prj", "q_proj"] },
        { "target regex matches nothing", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--target-modules", "regex:.*xyz"], ["xyz"] },
        { "target regex broken", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--target-modules", "regex:(("], ["(("] },
        { "exclude unmatched", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--exclude-modules", "k_prj"], ["k_prj", "k_proj"] },
        { "pattern unmatched", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--rank-pattern", "{\"zzz\":4}"], ["rank_pattern", "zzz"] },
        { "pattern not JSON", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--rank-pattern", "q_proj=4"], ["--rank-pattern", "JSON"] },
        { "pattern with a text", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--alpha-pattern", "{\"q_proj\":\"x\"}"], ["alpha-pattern", "q_proj"] },
        { "modules to save unmatched", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--modules-to-save", "lm_haed"], ["lm_haed", "lm_head"] },
        { "layer not a number", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--layers-to-transform", "one"], ["one"] },
        { "dora with lora-bias", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--use-dora", "--lora-bias"], ["use_dora", "lora_bias"] },
        { "no such device", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--device", "tpu"], ["tpu", "cuda"] },
        { "no such card", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--device", "cuda:99"], ["CUDA"] },
        { "quantised base", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--base-quantization", "nf4"], ["nf4"] },
        { "f16 on the CPU", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--device", "cpu", "--dtype", "f16"], ["f16", "f32"] },
        { "tf32 on the CPU", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--device", "cpu", "--tf32"], ["--tf32", "NVIDIA"] },
        { "tf32 with bf16", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--device", "cuda", "--dtype", "bf16", "--tf32"], ["--tf32", "bf16"] },
        { "no threads", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--threads", "0"], ["threads"] },
        { "full with an adapter", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--full", "--adapter", "{adapter}"], ["--full"] },
        { "adapter missing", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--adapter", "/no/adapter"], ["/no/adapter"] },
        { "adapter folder empty", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--adapter", "{empty}"], ["adapter_config.json"] },
        { "adapter of a wider model", ["eval", "--model", "{model}", "--data", "{rows}", "--adapter", "{wider}"], ["shape", "another base model"] },
        { "adapter of a deeper model", ["eval", "--model", "{model}", "--data", "{rows}", "--adapter", "{deeper}"], ["layers.9"] },
        { "adapter with fewer tensors", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--adapter", "{fewer}"], ["missing"] },
        { "rank against the adapter", ["train", "--model", "{model}", "--data", "{rows}", "-o", "{out}", "--adapter", "{adapter}", "--rank", "77"], ["--rank 77", "contradicts"] },
        { "adapter truncated", ["eval", "--model", "{model}", "--data", "{rows}", "--adapter", "{truncated}"], ["truncated"] },
        { "adapter with NaN", ["eval", "--model", "{model}", "--data", "{rows}", "--adapter", "{nan}"], ["NaN"] },
        { "recipe missing", ["train", "-c", "/no/recipe.yaml"], ["/no/recipe.yaml"] },
        { "recipe key unknown", ["train", "-c", "{badrecipe}"], ["line 2", "lerning_rate", "learning-rate"] },
        { "recipe value wrong", ["train", "-c", "{badvalue}"], ["line 1", "rank"] },
        { "recipe key twice", ["train", "-c", "{twice}"], ["line 2", "twice"] },
        { "recipe not YAML", ["train", "-c", "{notyaml}"], ["YAML"] },
        { "recipe a list", ["train", "-c", "{listrecipe}"], ["mapping"] },
        { "merge into itself", ["merge", "--model", "{model}", "--adapter", "{adapter}", "-o", "{model}"], ["overwrite"] },
        { "merge into a full folder", ["merge", "--model", "{model}", "--adapter", "{adapter}", "-o", "{noweights}"], ["not empty"] },
        { "merge without adapter", ["merge", "--model", "{model}", "-o", "{out}"], ["--adapter"] },
        { "merge dtype", ["merge", "--model", "{model}", "--adapter", "{adapter}", "-o", "{out}", "--dtype", "f64"], ["f64"] },
        { "generate without prompt", ["generate", "--model", "{model}"], ["--prompt"] },
        { "generate prompt and ids", ["generate", "--model", "{model}", "--prompt", "a", "--input-ids", "1"], ["--prompt", "--input-ids"] },
        { "generate text without tokenizer", ["generate", "--model", "{model}", "--prompt", "a"], ["tokenizer"] },
        { "generate bad id", ["generate", "--model", "{model}", "--input-ids", "1,x"], ["'x'"] },
        { "generate id too large", ["generate", "--model", "{model}", "--input-ids", "1,99999"], ["99999"] },
        { "generate negative temperature", ["generate", "--model", "{model}", "--input-ids", "1", "--temperature", "-1"], ["--temperature"] },
        { "chat without tokenizer", ["chat", "--model", "{model}"], ["tokenizer"] },
        { "tokenize without tokenizer", ["tokenize", "--text", "a"], ["--tokenizer"] },
        { "tokenize without text", ["tokenize", "--tokenizer", "{model}"], ["--text"] },
        { "tokenize nothing there", ["tokenize", "--tokenizer", "{empty}", "--text", "a"], ["no tokenizer"] },
        { "plan without model", ["plan"], ["--model", "--config"] },
        { "plan config missing", ["plan", "--config", "/no/config.json"], ["/no/config.json"] },
        { "bench without config", ["bench", "train"], ["--config"] },
        { "bench too long", ["bench", "train", "--config", "{model}", "--sequence-length", "100000000"], ["sequence-length"] },
        { "inspect nothing", ["adapter", "inspect", "/no/adapter"], ["/no/adapter"] },
        { "combine without adapters", ["adapter", "combine", "--model", "{model}", "-o", "{out}"], ["--adapter"] },
        { "combine with one weight too few", ["adapter", "combine", "--model", "{model}", "-a", "{adapter}", "-a", "{adapter}", "--weights", "1", "-o", "{out}"], ["weight"] },
        { "combine in an unknown way", ["adapter", "combine", "--model", "{model}", "-a", "{adapter}", "--type", "lineer", "-o", "{out}"], ["lineer", "linear"] },
        { "combine over an adapter", ["adapter", "combine", "--model", "{model}", "-a", "{adapter}", "-o", "{adapter}"], ["one of the adapters"] },
        { "extract without a tuned model", ["adapter", "extract", "--model", "{model}", "--rank", "4", "-o", "{out}"], ["--tuned"] },
        { "extract without rank or energy", ["adapter", "extract", "--model", "{model}", "--tuned", "{model}", "-o", "{out}"], ["--rank", "--energy"] },
        { "extract from the same model", ["adapter", "extract", "--model", "{model}", "--tuned", "{model}", "--rank", "4", "-o", "{out}"], ["do not differ"] },
        { "convert to nothing", ["adapter", "convert", "{adapter}", "-o", "{out}"], ["--to"] },
        { "convert loralib without alpha", ["adapter", "convert", "{rows}", "--to", "peft", "-o", "{out}"], ["--alpha"] },
        { "convert what is not loralib", ["adapter", "convert", "{rows}", "--to", "peft", "--alpha", "8", "-o", "{out}"], ["not a PyTorch file"] },
        { "fold what is not rsLoRA", ["adapter", "convert", "{adapter}", "--to", "plain-alpha", "-o", "{out}"], ["rsLoRA"] },
        { "convert onto itself", ["adapter", "convert", "{adapter}", "--to", "plain-alpha", "-o", "{adapter}"], ["itself"] },
        { "ties without density", ["adapter", "combine", "--model", "{model}", "-a", "{adapter}", "--type", "ties", "-o", "{out}"], ["density"] },
        { "logits below a file", ["eval", "--model", "{model}", "--data", "{rows}", "--logits", "{rows}/x.safetensors"], ["rows.jsonl"] },
        { "data preview without data", ["data", "preview", "--model", "{model}"], ["--data"] },
    };

    [Theory]
    [MemberData(nameof(Mistakes))]
    public void IsToldClearly(string name, string[] args, string[] words)
    {
        using Scratch scratch = new();
        Dictionary<string, string> paths = Prepare(scratch);
        string[] before = Snapshot(scratch);
        string[] model = [.. Directory.EnumerateFileSystemEntries(TinyRun.Model, "*", SearchOption.AllDirectories)];
        string[] actual = [.. args.Select(a => paths.Aggregate(a, (text, p) => text.Replace("{" + p.Key + "}", p.Value, StringComparison.Ordinal)))];
        CliResult result = Cli.Run(actual);
        Assert.True(result.Code == 2, $"{name}: exit code {result.Code}, {result.Error}");
        Assert.Equal("", result.Out);
        string[] errors = [.. result.Error.Split('\n').Where(l => l.StartsWith("error: ", StringComparison.Ordinal))];
        string error = Assert.Single(errors);
        foreach (string word in words) Assert.Contains(word, error, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("   at LoraNet", result.Error, StringComparison.Ordinal);
        Assert.Equal(before, Snapshot(scratch));
        Assert.Equal(model, Directory.EnumerateFileSystemEntries(TinyRun.Model, "*", SearchOption.AllDirectories));
    }

    private static string[] Snapshot(Scratch scratch) =>
        [.. Directory.EnumerateFileSystemEntries(scratch.Root, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal).Select(p => File.Exists(p) ? $"{p} {new FileInfo(p).Length}" : p)];

    private static Dictionary<string, string> Prepare(Scratch scratch)
    {
        Dictionary<string, string> paths = new()
        {
            ["model"] = TinyRun.Model,
            ["adapter"] = TinyRun.Adapter,
            ["rows"] = TinyRun.Rows(scratch, 8),
            ["out"] = scratch.Path("out"),
            ["empty"] = scratch.Path("empty"),
            ["emptyfile"] = scratch.Write("empty.jsonl", "\n\n"),
            ["badjson"] = scratch.Write("badjson.jsonl", Good + "{\"input_ids\":[1,2,\n"),
            ["notobject"] = scratch.Write("notobject.jsonl", Good + "[1,2]\n"),
            ["unknownform"] = scratch.Write("unknownform.jsonl", "{\"txet\":\"a\"}\n"),
            ["text"] = scratch.Write("text.jsonl", "{\"text\":\"a b c\"}\n"),
            ["lengths"] = scratch.Write("lengths.jsonl", "{\"input_ids\":[1,2,3],\"labels\":[1,2]}\n"),
            ["bigid"] = scratch.Write("bigid.jsonl", Good + "{\"input_ids\":[1,9999]}\n"),
            ["negative"] = scratch.Write("negative.jsonl", "{\"input_ids\":[1,-5,2]}\n"),
            ["masked"] = scratch.Write("masked.jsonl", "{\"input_ids\":[1,2,3],\"labels\":[-100,-100,-100]}\n"),
            ["onemasked"] = scratch.Write("onemasked.jsonl", Good + "{\"input_ids\":[1,2,3],\"labels\":[5,-100,-100]}\n"),
            ["onerow"] = scratch.Write("onerow.jsonl", Good),
            ["badrecipe"] = scratch.Write("badrecipe.yaml", "rank: 8\nlerning_rate: 1\n"),
            ["badvalue"] = scratch.Write("badvalue.yaml", "rank: many\n"),
            ["twice"] = scratch.Write("twice.yaml", "rank: 8\nlora_r: 8\n"),
            ["notyaml"] = scratch.Write("notyaml.yaml", "a: [1, 2\nb: }\n"),
            ["listrecipe"] = scratch.Write("listrecipe.yaml", "- rank\n- 8\n"),
            ["noweights"] = scratch.Path("noweights"),
            ["unknowntype"] = scratch.Path("unknowntype"),
            ["truncated"] = scratch.Path("truncated"),
            ["nan"] = scratch.Path("nan"),
            ["wider"] = scratch.Path("wider"),
            ["deeper"] = scratch.Path("deeper"),
            ["fewer"] = scratch.Path("fewer"),
        };
        foreach (string folder in new[] { "empty", "noweights", "unknowntype", "truncated", "nan", "wider", "deeper", "fewer" }) Directory.CreateDirectory(scratch.Path(folder));
        string config = File.ReadAllText(Path.Combine(TinyRun.Model, "config.json"));
        File.WriteAllText(scratch.Path("noweights", "config.json"), config);
        File.WriteAllText(scratch.Path("unknowntype", "config.json"), config.Replace("\"llama\"", "\"lama\"", StringComparison.Ordinal));
        byte[] adapter = File.ReadAllBytes(Path.Combine(TinyRun.Adapter, "adapter_model.safetensors"));
        foreach (string folder in new[] { "truncated", "nan", "wider", "deeper", "fewer" }) File.Copy(Path.Combine(TinyRun.Adapter, "adapter_config.json"), scratch.Path(folder, "adapter_config.json"));
        File.WriteAllBytes(scratch.Path("truncated", "adapter_model.safetensors"), adapter[..^40]);
        // The last four bytes are the last value of the last tensor.
        byte[] damaged = [.. adapter[..^4], 0, 0, 0xC0, 0x7F];
        File.WriteAllBytes(scratch.Path("nan", "adapter_model.safetensors"), damaged);
        Rewrite("wider", static (name, values, shape) => name.EndsWith("lora_A.weight", StringComparison.Ordinal) ? (name, [.. values, .. values], [shape[0], shape[1] * 2]) : (name, values, shape));
        Rewrite("deeper", static (name, values, shape) => (name.Replace("layers.1.", "layers.9.", StringComparison.Ordinal), values, shape));
        Rewrite("fewer", static (name, values, shape) => (name.Contains("layers.1.", StringComparison.Ordinal) ? null : name, values, shape));
        return paths;

        void Rewrite(string folder, Func<string, float[], int[], (string? Name, float[] Values, int[] Shape)> change)
        {
            using SafetensorsFile file = SafetensorsFile.Open(Path.Combine(TinyRun.Adapter, "adapter_model.safetensors"));
            SafetensorsWriter.Write(scratch.Path(folder, "adapter_model.safetensors"), file.Tensors
                .Select(t => change(t.Key, t.Value.ToArray(), t.Value.Shape.ToArray())).Where(t => t.Name is not null)
                .Select(t => SafetensorsEntry.FromSingles(t.Name!, t.Values, t.Shape)));
        }
    }
}
