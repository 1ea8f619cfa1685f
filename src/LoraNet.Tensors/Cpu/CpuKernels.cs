using LoraNet.Tensors.Operators;

namespace LoraNet.Tensors.Cpu;

/// <summary>
/// The kernels of the CPU backend for one vector width, on pointers to binary32 in row-major order. Shapes have been
/// checked; formulas are those of <see cref="Backend"/>.
/// </summary>
internal abstract unsafe class CpuKernels(WorkerPool pool)
{
    /// <summary>Elements below which an operation is not worth waking another thread.</summary>
    protected const long ParallelThreshold = 16 * 1024;

    /// <summary>The threads that share the work.</summary>
    public WorkerPool Pool { get; } = pool;

    /// <summary>Bytes of the slopes of attention's scores up to which the backward keeps them between its passes.</summary>
    public long KeptSlopes { get; set; } = 64L * 1024 * 1024;

    /// <summary>Columns of a packed weight panel.</summary>
    public abstract int PanelWidth { get; }

    public abstract void Gemm(ref GemmProblem problem);

    public abstract void Activate<TOperator>(float* x, float* y, long count) where TOperator : struct, IActivationOperator;

    public abstract void ActivateBackward<TOperator>(float* dy, float* x, float* dx, long count, bool accumulate) where TOperator : struct, IActivationOperator;

    public abstract void Gated<TOperator>(float* gate, float* up, float* y, long count) where TOperator : struct, IActivationOperator;

    public abstract void GatedBackward<TOperator>(float* dy, float* gate, float* up, float* dGate, float* dUp, long count) where TOperator : struct, IActivationOperator;

    public abstract void Add(float* a, float* b, float* y, long count);

    public abstract void Scale(float* x, float alpha, float* y, long count, bool accumulate);

    public abstract void VectorBinary(bool divide, float* a, float* b, float* y, long count);

    public abstract void SoftCap(float* x, float cap, float* y, long count);

    public abstract void ScaleColumns(float* x, float* v, float* y, int rows, int columns, bool accumulate);

    public abstract void ScaleRows(float* x, float* v, float* y, int rows, int columns);

    public abstract void AddRow(float* x, float* v, float* y, int rows, int columns);

    public abstract void ColumnSum(float* x, float* other, float* rowFactor, float alpha, float* sum, int rows, int columns, bool accumulate);

    public abstract void RmsNorm(float* x, float* w, float eps, float offset, float* y, float* rstd, int rows, int columns);

    public abstract void RmsNormBackward(float* dy, float* x, float* w, float offset, float* rstd, float* dx, int rows, int columns, bool accumulate);

    public abstract void LayerNorm(float* x, float* w, float* b, float eps, float* y, float* mean, float* rstd, int rows, int columns);

    public abstract void LayerNormBackward(float* dy, float* x, float* w, float* mean, float* rstd, float* dx, int rows, int columns, bool accumulate);

    /// <summary>sum[n] += Σₘ dy[m,n]·(x[m,n] − mean[m])·rstd[m]; no mean for RMSNorm.</summary>
    public abstract void NormWeightGradient(float* dy, float* x, float* mean, float* rstd, float* dw, int rows, int columns);

    public abstract void Rope(float* x, float* cos, float* sin, int* positions, int headSize, int rotated, bool inverse, float* y, int rows, int columns);

    public abstract void Dropout(float* x, float p, DropoutKey key, long rowOffset, float* y, int rows, int columns, bool accumulate);

    public abstract void CrossEntropy(float* logits, int* targets, float gradScale, float softCap, float* loss, float* dLogits, int rows, int columns);

    public abstract double SumOfSquares(float* x, long count);

    public abstract double Sum(float* x, long count);

    public abstract void AdamW(in AdamWSettings settings, AdamWSlice* slices, int count, float gradientFactor);

    public abstract void Attention(in AttentionProblem problem);

    /// <summary>Floating-point operations a second of multiply-adds on registers with all threads, the best of a few samples.</summary>
    public abstract double MultiplyAddRate();

    /// <summary>Bytes read and written a second when copying with all threads, the best of a few samples.</summary>
    public abstract double CopyRate();

    public abstract void AttentionBackward(in AttentionProblem problem, float* dOutput, float* dQuery, float* dKey, float* dValue);

    /// <summary>Runs the chunks in parallel when there is enough work, else one after another; the result is the same.</summary>
    protected void Run<TAction>(int chunks, long elements, ref TAction action) where TAction : struct, IChunkAction
    {
        if (elements >= ParallelThreshold)
        {
            Pool.Run(chunks, ref action);
            return;
        }
        for (int i = 0; i < chunks; i++) action.Invoke(i);
    }
}
