using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Numerics;
using LoraNet.Tensors;

namespace LoraNet.Training;

/// <summary>
/// LoRA-FA (Zhang et al., 2023), as PEFT's optimizer has it: A is frozen, and the gradient of B becomes
/// (1/s²)·dB·(A·Aᵀ + 1e-8·I)⁺, which makes s·dB·A the closest to the gradient that full fine-tuning would have. A layer then need not keep
/// its input for the backward.
/// </summary>
internal sealed class LoraFaProjection : IDisposable
{
    private const double Delta = 1e-8;
    // What binary32 knows of an eigenvalue beside the largest one, as a factor on the rank (PyTorch's pinv).
    private const double Resolution = 1.1920929e-7;
    private readonly Backend _backend;
    private readonly List<(Tensor Gradient, Tensor Inverse, Tensor Scratch)> _layers = [];
    private readonly Dictionary<(int, int), Tensor> _scratch = [];

    private LoraFaProjection(Backend backend) => _backend = backend;

    /// <summary>Freezes A of every LoRA layer of the active adapters.</summary>
    /// <exception cref="LoraNetException">There is none, or a layer is not plain LoRA.</exception>
    public static LoraFaProjection Create(PretrainedModel model)
    {
        // All are checked before the first is frozen: a refusal leaves the adapters as they were.
        List<LoraLayer> layers = [];
        foreach (LoraAdapter adapter in model.ActiveAdapters.Select(n => model.Adapters[n]))
        {
            string? other = adapter.Config.Method is { } method ? method.PeftType : adapter.Parts.Count > 0 ? "target_parameters" : adapter.Config.UseDora ? "use_dora" : adapter.Config.LoraBias ? "lora_bias"
                : adapter.Config.Init == LoraInit.Mica ? "the Mica initialisation" : null;
            if (other is not null) throw new LoraNetException($"LoRA-FA and {other} exclude each other.", "Choose one.");
            // An embedding's A is trained, as PEFT does: it starts at 0.
            layers.AddRange(adapter.Layers.Values.Where(l => model.Find(l.ModulePath) is LinearModule));
        }
        if (layers.Count == 0) throw new LoraNetException("LoRA-FA was asked for, but no linear layer has a LoRA layer.", "Leave --lora-fa out.");
        LoraFaProjection projection = new(model.Backend);
        foreach (LoraLayer layer in layers) projection.Add(layer);
        return projection;
    }

    /// <summary>Replaces the gradients of B.</summary>
    public void Apply()
    {
        foreach ((Tensor gradient, Tensor inverse, Tensor scratch) in _layers)
        {
            _backend.MatMul(MatMulKind.NN, gradient, inverse, scratch);
            _backend.Scale(scratch, 1, gradient);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach ((_, Tensor inverse, _) in _layers) _backend.Free(inverse);
        foreach (Tensor scratch in _scratch.Values) _backend.Free(scratch);
        _layers.Clear();
    }

    /// <summary>(1/s²)·(A·Aᵀ + δI)⁺, [r, r].</summary>
    internal static float[] Inverse(ReadOnlySpan<float> a, int rank, double scaling)
    {
        double[] wide = Vectors.Widen(a);
        double[] gram = Vectors.ProductNT(wide, wide, rank, rank, wide.Length / rank);
        (double[] values, double[] vectors) = SymmetricEigen.Decompose(gram, rank);
        double smallest = rank * Resolution * (values[0] + Delta);
        float[] inverse = new float[rank * rank];
        for (int i = 0; i < rank; i++)
        {
            for (int j = 0; j < rank; j++)
            {
                double sum = 0;
                for (int k = 0; k < rank; k++)
                    if (values[k] + Delta > smallest) sum += vectors[k * rank + i] * vectors[k * rank + j] / (values[k] + Delta);
                inverse[i * rank + j] = (float)(sum / (scaling * scaling));
            }
        }
        return inverse;
    }

    private void Add(LoraLayer layer)
    {
        layer.A.Freeze();
        int rank = layer.Rank, rows = layer.B.Value[0];
        if (!_scratch.TryGetValue((rows, rank), out Tensor? scratch)) _scratch[(rows, rank)] = scratch = _backend.Create(_backend.ParameterType, rows, rank);
        _layers.Add((layer.B.Gradient, _backend.Create(Inverse(layer.A.ToFile(), rank, layer.BaseScaling), rank, rank), scratch));
    }
}
