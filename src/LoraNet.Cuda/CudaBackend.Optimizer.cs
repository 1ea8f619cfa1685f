using LoraNet.Cuda.Kernels;
using LoraNet.Cuda.Runtime;
using LoraNet.Tensors;

namespace LoraNet.Cuda;

/// <content>Gradient norm and AdamW.</content>
public sealed partial class CudaBackend
{
    private readonly ChunkTable _normTable, _updateTable, _zeroTable;

    /// <inheritdoc/>
    public override void GradientNorm(IReadOnlyList<Tensor> gradients, float maxNorm, Tensor lossSum, Tensor stats)
    {
        RequireF32(lossSum, stats);
        _normTable.Begin();
        for (int i = 0; i < gradients.Count; i++)
        {
            RequireF32(gradients[i]);
            _normTable.Add(0, gradients[i].Address, 0, 0, gradients[i].Count, i);
        }
        _normTable.End();
        OptimizerArgs args = new()
        {
            Chunks = _normTable.Address,
            ChunkCount = _normTable.Count,
            Partial = Scratch(8L * Math.Max(1, _normTable.Count)),
            LossSum = lossSum.Address,
            Stats = stats.Address,
            MaxNorm = maxNorm,
        };
        int group = _device.PreferredGroup;
        if (args.ChunkCount > 0) _kernels.SquareSums.Get().Launch(Math.Min(args.ChunkCount, _device.ManyGroups), 1, group, args);
        _kernels.FinishNorm.Get().Launch(1, 1, group, args);
    }

    /// <inheritdoc/>
    public override void ZeroAll(IReadOnlyList<Tensor> tensors)
    {
        _zeroTable.Begin();
        for (int i = 0; i < tensors.Count; i++)
        {
            RequireF32(tensors[i]);
            _zeroTable.Add(0, tensors[i].Address, 0, 0, tensors[i].Count, i);
        }
        _zeroTable.End();
        if (_zeroTable.Count > 0)
            _kernels.ZeroGradients.Get().Launch(Math.Min(_zeroTable.Count, _device.ManyGroups), 1, _device.PreferredGroup, new OptimizerArgs { Chunks = _zeroTable.Address, ChunkCount = _zeroTable.Count });
    }

    /// <inheritdoc/>
    public override void AdamW(IReadOnlyList<AdamWTensor> tensors, AdamWSettings settings, Tensor stats)
    {
        RequireF32(stats);
        _updateTable.Begin();
        for (int i = 0; i < tensors.Count; i++)
        {
            AdamWTensor t = tensors[i];
            RequireF32(t.Parameter, t.Gradient, t.FirstMoment, t.SecondMoment);
            _updateTable.Add(t.Parameter.Address, t.Gradient.Address, t.FirstMoment.Address, t.SecondMoment.Address, t.Parameter.Count, i, CopyOf(t.Parameter));
            _updateTable.AddSetting(t.LearningRate, (float)(1 - (double)t.LearningRate * t.WeightDecay));
        }
        _updateTable.End();
        if (_updateTable.Count == 0) return;
        double correction1 = 1 - Math.Pow(settings.Beta1, settings.Step), correction2 = 1 - Math.Pow(settings.Beta2, settings.Step);
        _kernels.AdamW.Get(_computeType).Launch(Math.Min(_updateTable.Count, _device.ManyGroups), 1, _device.PreferredGroup, new OptimizerArgs
        {
            Chunks = _updateTable.Address,
            ChunkCount = _updateTable.Count,
            Settings = _updateTable.SettingsAddress,
            Stats = stats.Address,
            Beta1 = settings.Beta1,
            Beta2 = settings.Beta2,
            OneMinusBeta1 = (float)(1 - (double)settings.Beta1),
            OneMinusBeta2 = (float)(1 - (double)settings.Beta2),
            Epsilon = settings.Epsilon,
            Correction1 = (float)(1 / correction1),
            RootCorrection2 = (float)(1 / Math.Sqrt(correction2)),
        });
    }

    internal void UploadTable(ReadOnlySpan<byte> bytes, nint address) => _device.Upload(bytes, address);
}
