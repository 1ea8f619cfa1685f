// Makes the model that `loranet demo` tunes: generates stories, trains a tokenizer and pre-trains a tiny Llama on them with
// LoraNet's own full-parameter training. Everything follows from the seed.
//     dotnet run -c Release --project bench/LoraNet.DemoModel -- OUTPUT_FOLDER [STEPS]
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using LoraNet.DemoModel;
using LoraNet.Formats;
using LoraNet.Generation;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Models.Families;
using LoraNet.Tensors;
using LoraNet.Tensors.Cpu;
using LoraNet.Tokenizers;
using LoraNet.Training;

const ulong Seed = 20261124;
string output = args.Length > 0 ? args[0] : "demo-model";
int steps = args.Length > 1 ? int.Parse(args[1], System.Globalization.CultureInfo.InvariantCulture) : 1300;
Directory.CreateDirectory(output);

Grammar grammar = new(Seed);
List<string> stories = [.. Enumerable.Range(0, 12_000).Select(_ => grammar.Story())];
File.WriteAllText(Path.Combine(output, "tokenizer.json"), BpeTrainer.Train(stories.Take(3_000).Concat(Enumerable.Range(0, 300).Select(_ => grammar.Pirate().Pirate)), 768));
File.WriteAllText(Path.Combine(output, "tokenizer_config.json"), """
{
  "tokenizer_class": "PreTrainedTokenizerFast",
  "bos_token": "<s>",
  "eos_token": "</s>",
  "model_max_length": 256
}

""");
JsonObject config = new()
{
    ["architectures"] = new JsonArray("LlamaForCausalLM"),
    ["model_type"] = "llama",
    ["vocab_size"] = 768,
    ["hidden_size"] = 128,
    ["intermediate_size"] = 384,
    ["num_hidden_layers"] = 4,
    ["num_attention_heads"] = 4,
    ["num_key_value_heads"] = 2,
    ["hidden_act"] = "silu",
    ["max_position_embeddings"] = 256,
    ["rms_norm_eps"] = 1e-5,
    ["rope_theta"] = 10000.0,
    ["tie_word_embeddings"] = true,
    ["bos_token_id"] = 0,
    ["eos_token_id"] = 1,
    ["torch_dtype"] = "bfloat16",
};
File.WriteAllText(Path.Combine(output, "config.json"), config.ToJsonString(new JsonSerializerOptions { WriteIndented = true }) + "\n");

ITokenizer tokenizer = Tokenizer.Load(output);
List<TokenRow> rows = [];
foreach (string story in stories)
{
    int[] ids = [.. tokenizer.Encode(story), tokenizer.EosId!.Value];
    rows.Add(new TokenRow(ids, ids));
}
Console.WriteLine($"{rows.Count} stories, {rows.Average(r => r.InputIds.Length):f1} tokens each; first: {stories[0]}");

ModelConfig modelConfig = ModelConfig.Load(output);
DecoderOptions options = DecoderFamilies.Options(modelConfig);
using CpuBackend backend = new();
using CausalLM model = new(backend, modelConfig, options, new RandomWeights(modelConfig, Seed));
LoraAdapter full = model.Attach(AdapterBuilder.CreateFull(model));
TrainingOptions training = new()
{
    BatchSize = 32,
    MaxSteps = steps,
    LearningRate = 3e-3,
    Schedule = ScheduleKind.Cosine,
    WarmupSteps = 50,
    WeightDecay = 0.01,
    AdamBeta2 = 0.98,
    Seed = Seed,
};
using (LoraTrainer trainer = new(model, rows, training))
{
    await foreach (StepResult step in trainer.RunAsync())
        if (step.Step % 50 == 0 || step.Step == 1) Console.WriteLine($"step {step.Step}/{steps} loss {step.Loss:f4} norm {step.GradientNorm:f3} {step.TokensPerSecond:f0} tok/s");
}
IEnumerable<SafetensorsEntry> entries = full.Parameters.DistinctBy(p => p.Value).Select(p => SafetensorsEntry.FromSingles(p.Name, p.ToFile(), p.FileShape, DType.BF16));
SafetensorsWriter.Write(Path.Combine(output, "model.safetensors"), entries, refuseNonFinite: true);

// The fine-tuning set of the demo: 240 pairs to train on, 40 others to judge by.
HashSet<string> known = [];
StringBuilder train = new(), held = new();
JsonSerializerOptions relaxed = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
while (known.Count < 280)
{
    (string plain, string pirate) = grammar.Pirate();
    if (!known.Add(plain)) continue;
    JsonObject pair = new() { ["prompt"] = plain + " =>", ["completion"] = " " + pirate };
    (known.Count <= 240 ? train : held).Append(pair.ToJsonString(relaxed)).Append('\n');
}
File.WriteAllText(Path.Combine(output, "train.jsonl"), train.ToString());
File.WriteAllText(Path.Combine(output, "eval.jsonl"), held.ToString());

using CausalLM saved = CausalLM.Load(output, backend);
using Generator generator = new(saved);
foreach (string prompt in new[] { "Anna had a", "Once Oscar got a shiny drum.", "Lily" })
{
    int[] ids = generator.Generate([tokenizer.Encode(prompt)], new GenerationOptions { MaxNewTokens = 80, StopIds = [1] })[0];
    Console.WriteLine(prompt + tokenizer.Decode(ids));
}

/// <summary>Weights drawn from N(0, 0.02²) (norms 1), for a model that does not exist yet.</summary>
internal sealed class RandomWeights : IWeightSource
{
    private readonly Dictionary<string, HostTensor> _tensors = [];

    public RandomWeights(ModelConfig c, ulong seed)
    {
        Matrix("model.embed_tokens.weight", c.VocabSize, c.HiddenSize);
        Ones("model.norm.weight", c.HiddenSize);
        for (int i = 0; i < c.NumHiddenLayers; i++)
        {
            string p = $"model.layers.{i}.";
            Ones(p + "input_layernorm.weight", c.HiddenSize);
            Ones(p + "post_attention_layernorm.weight", c.HiddenSize);
            Matrix(p + "self_attn.q_proj.weight", c.NumAttentionHeads * c.HeadDim, c.HiddenSize);
            Matrix(p + "self_attn.k_proj.weight", c.NumKeyValueHeads * c.HeadDim, c.HiddenSize);
            Matrix(p + "self_attn.v_proj.weight", c.NumKeyValueHeads * c.HeadDim, c.HiddenSize);
            Matrix(p + "self_attn.o_proj.weight", c.HiddenSize, c.NumAttentionHeads * c.HeadDim);
            Matrix(p + "mlp.gate_proj.weight", c.IntermediateSize, c.HiddenSize);
            Matrix(p + "mlp.up_proj.weight", c.IntermediateSize, c.HiddenSize);
            Matrix(p + "mlp.down_proj.weight", c.HiddenSize, c.IntermediateSize);
        }

        void Matrix(string name, int rows, int columns)
        {
            float[] values = new float[rows * columns];
            LoraInitializer.Normal(values, 0.02, seed, name);
            _tensors[name] = HostTensor.Copy(values, rows, columns);
        }

        void Ones(string name, int size) => _tensors[name] = HostTensor.Copy(Enumerable.Repeat(1f, size).ToArray(), size);
    }

    public IReadOnlyCollection<string> Names => _tensors.Keys;
    public string? Directory => null;
    public bool TryGet(string name, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out HostTensor? tensor) => _tensors.TryGetValue(name, out tensor);
    public HostTensor Get(string name) => _tensors[name];
    public void Dispose() { }
}
