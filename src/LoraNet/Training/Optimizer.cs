using LoraNet.Models;
using LoraNet.Tensors;

namespace LoraNet.Training;

/// <summary>AdamW over the trainable parameters, with clipping by global norm; moments live beside the parameters.</summary>
public sealed class Optimizer : IDisposable
{
    private readonly Backend _backend;
    private readonly TrainingOptions _options;
    private readonly List<Tensor> _gradients = [];
    private readonly List<AdamWTensor> _tensors = [];
    private readonly Tensor _stats;
    private readonly LoraFaProjection? _projection;

    /// <summary>Creates zero moments for <paramref name="parameters"/>.</summary>
    public Optimizer(Backend backend, IReadOnlyList<Parameter> parameters, TrainingOptions options) : this(backend, parameters, options, null)
    {
    }

    /// <summary>Creates zero moments; <paramref name="projection"/> changes gradients after their norm was taken.</summary>
    internal Optimizer(Backend backend, IReadOnlyList<Parameter> parameters, TrainingOptions options, LoraFaProjection? projection)
    {
        (_backend, _options, Parameters, _projection) = (backend, options, parameters, projection);
        _stats = backend.Create(backend.ParameterType, 3);
        foreach (Parameter parameter in parameters)
        {
            Tensor m = backend.Create(backend.ParameterType, parameter.Value.GetShape());
            Tensor v = backend.Create(backend.ParameterType, parameter.Value.GetShape());
            backend.Zero(m);
            backend.Zero(v);
            _gradients.Add(parameter.Gradient);
            _tensors.Add(new AdamWTensor(parameter.Value, parameter.Gradient, m, v, 0, 0));
        }
    }

    /// <summary>The parameters, in the order of their moments.</summary>
    public IReadOnlyList<Parameter> Parameters { get; }

    /// <summary>Updates applied so far (skipped ones not counted); bias correction depends on it.</summary>
    public int Updates { get; set; }

    /// <summary>First and second moment of parameter <paramref name="index"/>.</summary>
    public (Tensor First, Tensor Second) Moments(int index) => (_tensors[index].FirstMoment, _tensors[index].SecondMoment);

    /// <summary>Bytes of both moments of all parameters.</summary>
    public long StateBytes => _tensors.Sum(t => t.FirstMoment.Bytes + t.SecondMoment.Bytes);

    /// <summary>Zeroes all gradients.</summary>
    public void ZeroGradients() => _backend.ZeroAll(_gradients);

    /// <summary>Has the update's kernels compiled and its memory reserved before they are needed; changes nothing.</summary>
    public void Rehearse(Tensor lossSum) => _backend.Rehearse(() =>
    {
        ZeroGradients();
        Queue(0, lossSum);
    });

    /// <summary>
    /// One update. Clip factor and skip flag stay on the device; the returned norm is read after the update.
    /// </summary>
    /// <param name="learningRate">Rate of this step.</param>
    /// <param name="lossSum">Sum of the step's losses; a non-finite value skips the update.</param>
    /// <returns>The gradient norm before clipping, and whether the update was applied.</returns>
    public (double GradientNorm, bool Applied) Step(double learningRate, Tensor lossSum)
    {
        Queue(learningRate, lossSum);
        Span<float> stats = stackalloc float[3];
        _backend.Download(_stats, stats);
        bool applied = stats[2] != 0;
        if (applied) Updates++;
        return (stats[0], applied);
    }

    private void Queue(double learningRate, Tensor lossSum)
    {
        _backend.GradientNorm(_gradients, (float)_options.MaxGradNorm, lossSum, _stats);
        _projection?.Apply();
        for (int i = 0; i < _tensors.Count; i++)
        {
            ParameterKind kind = Parameters[i].Kind;
            double rate = kind is ParameterKind.LoraB or ParameterKind.LoraBias ? learningRate * _options.LoraPlusRatio : learningRate;
            _tensors[i] = _tensors[i] with { LearningRate = (float)rate, WeightDecay = (float)_options.WeightDecay };
        }
        _backend.AdamW(_tensors, new AdamWSettings((float)_options.AdamBeta1, (float)_options.AdamBeta2, (float)_options.AdamEpsilon, Updates + 1), _stats);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _backend.Free(_stats);
        _projection?.Dispose();
        foreach (AdamWTensor tensor in _tensors)
        {
            _backend.Free(tensor.FirstMoment);
            _backend.Free(tensor.SecondMoment);
        }
    }
}
