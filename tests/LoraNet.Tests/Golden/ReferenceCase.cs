using System.Text.Json;
using LoraNet.Adapters;
using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;
using LoraNet.Tensors.Autograd;
using LoraNet.Tensors.Cpu;
using LoraNet.Tensors.Reference;
using LoraNet.Training;

namespace LoraNet.Tests.Golden;

/// <summary>One golden case of transformers + PEFT: model, adapters, batches and expected values, and the comparisons that all kinds of model share.</summary>
internal sealed class ReferenceCase : IDisposable
{
    public ReferenceCase(string folder)
    {
        Folder = folder;
        Expected = SafetensorsFile.Open(Path.Combine(folder, "expected.safetensors"));
        Json = JsonDocument.Parse(File.ReadAllText(Path.Combine(folder, "expected.json"))).RootElement;
    }

    public string Folder { get; }
    public SafetensorsFile Expected { get; }
    public JsonElement Json { get; }

    public int Steps => Json.GetProperty("steps").GetInt32();

    public float[] Values(string name) => Expected.Tensors[name].ToArray();

    public double Scalar(string name) => Values(name)[0];

    /// <summary>Rows of the fixed batch of a step.</summary>
    public List<TokenRow> Rows(int step)
    {
        HostTensor ids = Expected.Tensors[$"step{step}.input_ids"];
        int rows = ids.Shape[0], length = ids.Shape[1];
        float[] i = ids.ToArray(), m = Values($"step{step}.attention_mask"), l = Values($"step{step}.labels");
        List<TokenRow> result = [];
        for (int r = 0; r < rows; r++)
            result.Add(new TokenRow(Row(i, r), Row(l, r), Row(m, r)));
        return result;

        int[] Row(float[] values, int r) => [.. values.Skip(r * length).Take(length).Select(v => (int)v)];
    }

    /// <summary>The tensors of the adapter after the steps.</summary>
    public string TrainedAdapter => Path.Combine(Folder, "adapter_trained", AdapterFile.TensorFileName);

    /// <summary>The backend of a test's argument.</summary>
    public static Backend CreateBackend(string name) => name switch
    {
        "reference" => new ReferenceBackend(),
        "cpu" => new CpuBackend(),
        _ => throw new ArgumentOutOfRangeException(nameof(name)),
    };

    /// <summary>The optimizer of the case over its fixed batches in order, unshuffled.</summary>
    /// <param name="rows">Rows of all steps together.</param>
    public TrainingOptions Options(int rows) => new()
    {
        BatchSize = rows / Steps,
        MaxSteps = Steps,
        Shuffle = false,
        LearningRate = Json.GetProperty("lr").GetDouble(),
        WeightDecay = Json.GetProperty("weight_decay").GetDouble(),
        Schedule = ScheduleKind.Constant,
        MaxGradNorm = 0,
        AdamEpsilon = Json.TryGetProperty("eps", out JsonElement eps) ? eps.GetDouble() : 1e-8,
        LoraFa = Json.TryGetProperty("lora_fa", out JsonElement fa) && fa.GetBoolean(),
    };

    /// <summary>Runs the steps and compares losses and gradient norms.</summary>
    public void CompareSteps(LoraTrainer trainer, Differences table)
    {
        for (int s = 0; s < Steps; s++)
        {
            StepResult step = trainer.Step();
            double loss = Json.GetProperty("train_losses")[s].GetDouble(), norm = Json.GetProperty("train_grad_norms")[s].GetDouble();
            table.Add($"step{s}.loss", Math.Abs(step.Loss - loss) / loss, 1e-5);
            table.Add($"step{s}.grad_norm", Math.Abs(step.GradientNorm - norm) / norm, 1e-4);
        }
    }

    /// <summary>Compares an adapter with the one after the steps, tensor by tensor.</summary>
    public void CompareAdapter(LoraAdapter adapter, Differences table)
    {
        using SafetensorsFile file = SafetensorsFile.Open(TrainedAdapter);
        // Where embeddings carry an adapter PEFT writes the base's beside it.
        Assert.Equal(file.Tensors.Keys.Where(k => !k.Contains(".base_layer.weight", StringComparison.Ordinal)).Order(StringComparer.Ordinal), StoredTensor.Of(adapter).Select(t => t.Key).Order(StringComparer.Ordinal));
        foreach (StoredTensor stored in StoredTensor.Of(adapter).Where(t => !t.Own.Frozen))
            table.Add($"after training {stored.Name}", Differences.Relative(stored.Get(), file.Tensors[stored.Key].ToArray()), 5e-4);
    }

    /// <summary>Compares every trainable parameter's gradient of the first batch.</summary>
    /// <param name="accumulate">Runs forward and backward on a tape, the loss into a tensor.</param>
    public void CompareGradients(PretrainedModel model, Arena arena, Differences table, Action<Tape, Tensor> accumulate)
    {
        foreach (Parameter parameter in model.TrainableParameters) model.Backend.Zero(parameter.Gradient);
        Tensor sum = model.Backend.Create(new float[1], 1);
        accumulate(new Tape(arena), sum);
        Assert.Equal(0, arena.Live);
        int compared = 0;
        foreach (Parameter parameter in model.TrainableParameters)
        {
            table.Add($"grad {parameter.Name}", Differences.Relative(parameter.ToFile(gradient: true), Values(GradientName(parameter.Name))), 1e-4);
            compared++;
        }
        Assert.Equal(Gradients.Count(), compared);
        model.Backend.Free(sum);
    }

    public void Dispose() => Expected.Dispose();

    private const string GradientPrefix = "trained.grad.";

    private IEnumerable<string> Gradients => Expected.Tensors.Keys.Where(k => k.StartsWith(GradientPrefix, StringComparison.Ordinal));

    // PEFT's module names at run time differ from the names in its files.
    private string GradientName(string name)
    {
        string plain = GradientPrefix + name;
        string[] candidates = [plain, plain + ".weight", plain.Replace(".weight", ".modules_to_save.weight"), plain.Replace("classifier.", "classifier.modules_to_save.")];
        return candidates.FirstOrDefault(Expected.Tensors.ContainsKey) ?? throw new InvalidOperationException($"No gradient for {name} among {string.Join(", ", Gradients)}");
    }
}
