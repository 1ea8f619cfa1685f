using ILGPU;

namespace LoraNet.Cuda.Kernels;

/// <summary>A piece of one parameter that a group updates; a table of them covers all parameters in one launch.</summary>
internal struct OptimizerChunk
{
    /// <summary>Addresses of the piece; moments and parameter are 0 in tables of gradients only.</summary>
    public long Parameter, Gradient, First, Second;

    /// <summary>Address of the 16-bit copy of the piece, or 0.</summary>
    public long Copy;

    /// <summary>Elements of the piece, and the number of its tensor (row of the settings table).</summary>
    public int Count, Tensor;
}

/// <summary>Arguments of <see cref="OptimizerKernels"/>.</summary>
internal struct OptimizerArgs
{
    /// <summary>Table of <see cref="OptimizerChunk"/>; F32 pairs (learning rate, 1 − rate·decay) a tensor; partial sums; loss; statistics.</summary>
    public long Chunks, Settings, Partial, LossSum, Stats;
    public int ChunkCount;
    public float MaxNorm;

    /// <summary>β₁, β₂ and their complements computed in binary64, ε, and 1/(1 − β₁ᵗ), 1/√(1 − β₂ᵗ).</summary>
    public float Beta1, Beta2, OneMinusBeta1, OneMinusBeta2, Epsilon, Correction1, RootCorrection2;
}

/// <summary>Gradient norm, clipping factor and AdamW over all parameters; nothing waits for the host.</summary>
internal static unsafe class OptimizerKernels
{
    /// <summary>Partial[group] (binary64) = Σ g² of the group's chunks.</summary>
    public static void SquareSums(OptimizerArgs a)
    {
        ArrayView<double> scratch = SharedMemory.Allocate<double>(32);
        for (int chunk = Grid.IdxX; chunk < a.ChunkCount; chunk += Grid.DimX)
        {
            OptimizerChunk* t = (OptimizerChunk*)(a.Chunks + (long)chunk * sizeof(OptimizerChunk));
            long gradient = t->Gradient;
            int count = t->Count;
            double sum = 0;
            for (int i = 4 * Group.IdxX; i < count; i += 4 * Group.DimX)
            {
                Pack g = Flat.Load<StoredF32>(gradient, i, count);
                sum += (double)g.X * g.X + (double)g.Y * g.Y + ((double)g.Z * g.Z + (double)g.W * g.W);
            }
            sum = GroupReduce.Sum(sum, scratch);
            if (Group.IdxX == 0) *(double*)(a.Partial + 8L * chunk) = sum;
        }
    }

    /// <summary>stats = (norm, clip factor, 1 when norm and loss are finite).</summary>
    public static void FinishNorm(OptimizerArgs a)
    {
        ArrayView<double> scratch = SharedMemory.Allocate<double>(32);
        double sum = 0;
        for (int i = Group.IdxX; i < a.ChunkCount; i += Group.DimX) sum += *(double*)(a.Partial + 8L * i);
        sum = GroupReduce.Sum(sum, scratch);
        if (Group.IdxX != 0) return;
        float norm = (float)Math.Sqrt(sum), factor = 1f, loss = StoredF32.Load(a.LossSum, 0);
        if (a.MaxNorm > 0f)
        {
            factor = a.MaxNorm / (norm + 1e-6f);
            factor = factor < 1f ? factor : 1f;
        }
        StoredF32.Store(a.Stats, 0, norm);
        StoredF32.Store(a.Stats, 1, factor);
        // Infinity − infinity and NaN − NaN are not 0.
        StoredF32.Store(a.Stats, 2, norm - norm == 0f && loss - loss == 0f ? 1f : 0f);
    }

    /// <summary>The update; writes the parameter rounded to TCopy too where there is a copy.</summary>
    public static void AdamW<TCopy>(OptimizerArgs a)
        where TCopy : struct, IStorage
    {
        if (StoredF32.Load(a.Stats, 2) == 0f) return;
        float clip = StoredF32.Load(a.Stats, 1);
        for (int chunk = Grid.IdxX; chunk < a.ChunkCount; chunk += Grid.DimX)
        {
            OptimizerChunk* t = (OptimizerChunk*)(a.Chunks + (long)chunk * sizeof(OptimizerChunk));
            long parameter = t->Parameter, gradient = t->Gradient, first = t->First, second = t->Second;
            long copy = t->Copy;
            int count = t->Count, tensor = t->Tensor;
            float rate = StoredF32.Load(a.Settings, 2L * tensor), keep = StoredF32.Load(a.Settings, 2L * tensor + 1);
            for (int i = 4 * Group.IdxX; i < count; i += 4 * Group.DimX)
            {
                Pack p = Flat.Load<StoredF32>(parameter, i, count), g = Flat.Load<StoredF32>(gradient, i, count);
                Pack m = Flat.Load<StoredF32>(first, i, count), v = Flat.Load<StoredF32>(second, i, count);
                g = new Pack(clip * g.X, clip * g.Y, clip * g.Z, clip * g.W);
                m = new Pack(a.Beta1 * m.X + a.OneMinusBeta1 * g.X, a.Beta1 * m.Y + a.OneMinusBeta1 * g.Y,
                    a.Beta1 * m.Z + a.OneMinusBeta1 * g.Z, a.Beta1 * m.W + a.OneMinusBeta1 * g.W);
                v = new Pack(a.Beta2 * v.X + a.OneMinusBeta2 * g.X * g.X, a.Beta2 * v.Y + a.OneMinusBeta2 * g.Y * g.Y,
                    a.Beta2 * v.Z + a.OneMinusBeta2 * g.Z * g.Z, a.Beta2 * v.W + a.OneMinusBeta2 * g.W * g.W);
                p = new Pack(Step(a, p.X * keep, m.X, v.X, rate), Step(a, p.Y * keep, m.Y, v.Y, rate),
                    Step(a, p.Z * keep, m.Z, v.Z, rate), Step(a, p.W * keep, m.W, v.W, rate));
                Flat.Store<StoredF32>(parameter, i, count, p);
                if (copy != 0) Flat.Store<TCopy>(copy, i, count, p);
                Flat.Store<StoredF32>(first, i, count, m);
                Flat.Store<StoredF32>(second, i, count, v);
            }
        }
    }

    /// <summary>Zeroes the gradients of all chunks.</summary>
    public static void ZeroGradients(OptimizerArgs a)
    {
        Pack zero = new(0f, 0f, 0f, 0f);
        for (int chunk = Grid.IdxX; chunk < a.ChunkCount; chunk += Grid.DimX)
        {
            OptimizerChunk* t = (OptimizerChunk*)(a.Chunks + (long)chunk * sizeof(OptimizerChunk));
            long gradient = t->Gradient;
            int count = t->Count;
            for (int i = 4 * Group.IdxX; i < count; i += 4 * Group.DimX) Flat.Store<StoredF32>(gradient, i, count, zero);
        }
    }

    private static float Step(OptimizerArgs a, float p, float m, float v, float rate) =>
        p - rate * a.Correction1 * (m / (MathF.Sqrt(v) * a.RootCorrection2 + a.Epsilon));
}
