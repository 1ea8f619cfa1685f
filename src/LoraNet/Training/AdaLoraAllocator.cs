using LoraNet.Formats;
using LoraNet.Lora;
using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Training;

/// <summary>
/// AdaLoRA's part in training (Zhang et al., 2023), as PEFT has it. Each component's importance is the mean, over its entries in A, B and E,
/// of sensitivity times uncertainty, both smoothed: I = |p·g|, Ī = β₁·Ī + (1 − β₁)·I, Ū = β₂·Ū + (1 − β₂)·|I − Ī|. The budget of
/// components shrinks with the cube of the remaining steps; those outside it get E = 0 and are left out of the stored adapter.
/// A penalty w·mean(‖A·Aᵀ − I‖, ‖Bᵀ·B − I‖) keeps the factors orthogonal; it counts in the gradient, not in the reported loss.
/// Works on the host: the factors and their gradients are read back in each step until the final phase.
/// </summary>
internal sealed class AdaLoraAllocator
{
    private const string Prefix = "adalora.";
    private readonly Backend _backend;
    private readonly AdaLoraSettings _settings;
    private readonly List<AdaLoraLayer> _layers;
    private readonly Dictionary<Parameter, float[]> _importance = [], _uncertainty = [];
    private readonly int _steps, _full, _target;
    private readonly bool _allocates;

    private AdaLoraAllocator(Backend backend, AdaLoraSettings settings, List<AdaLoraLayer> layers, int steps)
    {
        (_backend, _settings, _layers, _steps) = (backend, settings, layers, steps);
        _full = layers.Sum(l => (int)l.Diagonal.Count);
        _target = settings.TargetRank * layers.Count;
        // An adapter that was stored pruned keeps its ranks.
        _allocates = settings.Kept.Count == 0 && _full > _target;
        if (settings.Kept.Count == 0 && settings.InitialSteps >= steps - settings.FinalSteps)
            throw new LoraNetException($"AdaLoRA's {settings.InitialSteps} steps at the start and {settings.FinalSteps} at the end leave none of the {steps} steps for allocating ranks.", "Lower --tinit or --tfinal, or train longer.");
    }

    /// <summary>The allocator of the model's active adapter; null when it is not AdaLoRA.</summary>
    /// <exception cref="LoraNetException">The schedule leaves no step for allocation, or several adapters are trained.</exception>
    public static AdaLoraAllocator? Create(PretrainedModel model, int steps)
    {
        List<LoraAdapter> adapters = [.. model.ActiveAdapters.Select(n => model.Adapters[n])];
        if (!adapters.Exists(a => a.Config.Method is AdaLoraSettings)) return null;
        if (adapters.Count > 1) throw new LoraNetException("AdaLoRA trains one adapter at a time.", "Activate only the AdaLoRA adapter with SetAdapter.");
        AdaLoraSettings settings = (AdaLoraSettings)adapters[0].Config.Method!;
        AdaLoraAllocator allocator = new(model.Backend, settings, [.. adapters[0].Parts.OfType<AdaLoraLayer>()], steps);
        adapters[0].Configure(adapters[0].Config with { Method = settings with { TotalSteps = steps } });
        return allocator;
    }

    /// <summary>Adds the penalty's gradient.</summary>
    public void AddPenalty()
    {
        if (_settings.OrthogonalWeight == 0) return;
        double weight = _settings.OrthogonalWeight / (2 * _layers.Count);
        foreach (AdaLoraLayer layer in _layers)
        {
            int rank = (int)layer.Diagonal.Count;
            if (rank == 0) continue;
            // d‖A·Aᵀ − I‖ = 2·(A·Aᵀ − I)·A / ‖A·Aᵀ − I‖, and the same for Bᵀ.
            Tensor factor = _backend.Create(_backend.ParameterType, rank, rank);
            _backend.MatMul(MatMulKind.NT, layer.A.Value, layer.A.Value, factor);
            if (Direction(factor, weight)) _backend.MatMul(MatMulKind.NN, factor, layer.A.Value, layer.A.Gradient, accumulate: true);
            _backend.MatMul(MatMulKind.TN, layer.B.Value, layer.B.Value, factor);
            if (Direction(factor, weight)) _backend.MatMul(MatMulKind.NN, layer.B.Value, factor, layer.B.Gradient, accumulate: true);
            _backend.Synchronize();
            _backend.Free(factor);
        }
    }

    /// <summary>Follows an update: measures importance and prunes.</summary>
    /// <param name="step">Number of the step, from 0.</param>
    /// <param name="applied">False when the step was skipped: its gradients measure nothing, but the budget shrinks all the same.</param>
    /// <param name="clip">Factor by which the gradients were clipped.</param>
    public void Allocate(int step, bool applied, double clip)
    {
        if (!_allocates) return;
        int last = _steps - _settings.FinalSteps;
        if (applied && step < last) Measure(clip);
        if (_importance.Count > 0 && step <= last && step > _settings.InitialSteps && (step == last || step % _settings.Interval == 0))
        {
            double left = 1 - (step - _settings.InitialSteps) / (double)(last - _settings.InitialSteps);
            Prune((int)((_full - _target) * (left * left * left) + _target));
        }
        // What the file leaves out must not be in the model that is used on.
        if (step > last || step == _steps - 1) foreach (AdaLoraLayer layer in _layers) Mask(layer);
    }

    /// <summary>Everything that a checkpoint needs beside the stored adapter, which lacks the pruned components.</summary>
    public IEnumerable<SafetensorsEntry> State()
    {
        foreach (AdaLoraLayer layer in _layers)
        {
            if (layer.Kept is { } kept) yield return SafetensorsEntry.FromSingles($"{Prefix}kept.{layer.ModulePath}", kept.Select(k => k ? 1f : 0f).ToArray(), [kept.Length]);
            foreach (Parameter p in layer.Parameters)
            {
                yield return SafetensorsEntry.FromSingles($"{Prefix}value.{p.Name}", p.ToFile(), p.FileShape);
                if (!_importance.TryGetValue(p, out float[]? importance)) continue;
                yield return SafetensorsEntry.FromSingles($"{Prefix}importance.{p.Name}", importance, p.FileShape);
                yield return SafetensorsEntry.FromSingles($"{Prefix}uncertainty.{p.Name}", _uncertainty[p], p.FileShape);
            }
        }
    }

    /// <summary>Takes up a checkpoint's state, after the stored adapter was read.</summary>
    /// <exception cref="LoraNetException">A tensor is missing or has another size.</exception>
    public void Restore(SafetensorsFile file)
    {
        foreach (AdaLoraLayer layer in _layers)
        {
            foreach (Parameter p in layer.Parameters)
            {
                p.FromFile(Read($"{Prefix}value.{p.Name}", p.Count));
                if (!file.Tensors.ContainsKey($"{Prefix}importance.{p.Name}")) continue;
                _importance[p] = Read($"{Prefix}importance.{p.Name}", p.Count);
                _uncertainty[p] = Read($"{Prefix}uncertainty.{p.Name}", p.Count);
            }
        }

        float[] Read(string name, long count) => file.Tensors.TryGetValue(name, out HostTensor? tensor) && tensor.Count == count ? tensor.ToArray()
            : throw new LoraNetException($"{file.Path}: '{name}' is missing or has another size.", "The checkpoint belongs to another adapter configuration.");
    }

    /// <summary>Turns a Gram matrix C into 2·w·(C − I)/‖C − I‖; false where it is the identity.</summary>
    private bool Direction(Tensor gram, double weight)
    {
        float[] c = _backend.Download(gram);
        int rank = gram[0];
        for (int i = 0; i < rank; i++) c[i * rank + i] -= 1;
        double norm = 0;
        foreach (float v in c) norm += (double)v * v;
        norm = Math.Sqrt(norm);
        if (norm == 0) return false;
        for (int i = 0; i < c.Length; i++) c[i] = (float)(2 * weight * c[i] / norm);
        _backend.Upload(c, gram);
        return true;
    }

    private void Measure(double clip)
    {
        foreach (Parameter p in _layers.SelectMany(l => l.Parameters))
        {
            float[] values = p.ToFile(), gradient = p.ToFile(gradient: true);
            if (!_importance.TryGetValue(p, out float[]? importance))
            {
                _importance[p] = importance = new float[p.Count];
                _uncertainty[p] = new float[p.Count];
            }
            float[] uncertainty = _uncertainty[p];
            for (int i = 0; i < values.Length; i++)
            {
                double now = Math.Abs(values[i] * gradient[i] * clip);
                importance[i] = (float)(_settings.Beta1 * importance[i] + (1 - _settings.Beta1) * now);
                uncertainty[i] = (float)(_settings.Beta2 * uncertainty[i] + (1 - _settings.Beta2) * Math.Abs(now - importance[i]));
            }
        }
    }

    private void Prune(int budget)
    {
        if (budget >= _full) return;
        List<double[]> scores = [.. _layers.Select(Scores)];
        double threshold = scores.SelectMany(s => s).Order().ElementAt(_full - budget - 1);
        for (int l = 0; l < _layers.Count; l++)
        {
            _layers[l].Kept = [.. scores[l].Select(s => s > threshold)];
            Mask(_layers[l]);
        }
    }

    private double[] Scores(AdaLoraLayer layer)
    {
        int rank = (int)layer.Diagonal.Count;
        int inputs = (int)(layer.A.Count / rank), outputs = (int)(layer.B.Count / rank);
        double[] scores = new double[rank];
        for (int r = 0; r < rank; r++)
        {
            double a = 0, b = 0;
            for (int i = 0; i < inputs; i++) a += Score(layer.A, r * inputs + i);
            for (int o = 0; o < outputs; o++) b += Score(layer.B, o * rank + r);
            scores[r] = Score(layer.Diagonal, r) + a / inputs + b / outputs;
        }
        return scores;

        double Score(Parameter p, int i) => (double)_importance[p][i] * _uncertainty[p][i];
    }

    private static void Mask(AdaLoraLayer layer)
    {
        if (layer.Kept is not { } kept) return;
        float[] e = layer.Diagonal.ToFile();
        for (int r = 0; r < e.Length; r++) if (!kept[r]) e[r] = 0;
        layer.Diagonal.FromFile(e);
    }
}
