using LoraNet.Cuda.Kernels;
using LoraNet.Cuda.Ptx;
using LoraNet.Cuda.Runtime;
using LoraNet.Tensors;
using GemmArgs = LoraNet.Cuda.Ptx.Gemm.GemmArgs;
using GemmLayout = LoraNet.Cuda.Ptx.Gemm.GemmLayout;
using GemvSpec = LoraNet.Cuda.Ptx.Gemm.GemvSpec;

namespace LoraNet.Cuda;

/// <content>Products by the generated kernels, where they fit or can be made to.</content>
public sealed partial class CudaBackend
{
    /// <summary>Scratch memory for a part of a 16-bit weight widened for F32 computation.</summary>
    private const long WidenedBytes = 64 << 20;

    /// <summary>Up to so many rows, reading a weight in its 16 bits matters more than the speed of the arithmetic.</summary>
    private const int WidenAboveRows = 16;

    private readonly bool _tf32;

    /// <summary>An operand as a product reads it: where it lies or, with bytes, a copy in scratch memory.</summary>
    private readonly record struct Placement(Operand Operand, int Rows, int Columns, int SourcePitch, int Pitch, long Bytes);

    /// <summary>Launches a product if a generated kernel takes it. Those read operands of one type: what is kept in F32 beside 16-bit
    /// activations (LoRA's A and B, biases) is rounded to their type first, as autocast does, if the result is 16-bit too; and F32
    /// computation widens 16-bit weights, a part at a time.</summary>
    private bool MultiplyGenerated(in Product p)
    {
        if (_generated is null || p.K == 0 || InputType(p) is not { } type || (p.C.Type != type && p.C.Type != DType.F32)) return false;
        if (p.C.Type == DType.F32)
        {
            // Rounding operands is right where the result is rounded as coarsely, and wrong for F32 results.
            foreach (Operand o in (ReadOnlySpan<Operand>)[p.A, p.B, p.Left, p.Right, p.Bias])
                if (o.Exists && o.Type != type && type != DType.F32) return false;
            MultiplyInParts(p, type);
            return true;
        }
        Multiply(p with
        {
            A = Copied(p.A, type),
            B = Copied(p.B, type),
            Left = Copied(p.Left, type),
            Right = Copied(p.Right, type),
        }, type, 0, 0);
        return true;
    }

    /// <summary>A product with an F32 result; B's rows (columns of the result or steps of the sum) come in parts if they must be widened.</summary>
    private void MultiplyInParts(in Product p, DType type)
    {
        int rows = p.Kind == MatMulKind.NT ? p.N : p.K, columns = p.Kind == MatMulKind.NT ? p.K : p.N;
        int step = p.B.Type == type || p.Kind == MatMulKind.TN ? rows : (int)Math.Clamp(WidenedBytes / 4 / columns / 256 * 256, 256, Math.Max(256, rows));
        for (int first = 0; first < rows; first += step)
        {
            int count = Math.Min(step, rows - first);
            Product part = p with { B = At(p.B, (long)first * columns) };
            part = p.Kind == MatMulKind.NT
                ? part with { N = count, C = At(p.C, first), Bias = At(p.Bias, first), Right = At(p.Right, (long)first * p.Rank) }
                : part with { K = count, A = At(p.A, p.Kind == MatMulKind.TN ? 0 : first), Accumulate = p.Accumulate || first > 0, Rank = first > 0 ? 0 : p.Rank, Bias = first > 0 ? default : p.Bias };
            Multiply(part, type, p.Kind == MatMulKind.TN ? 0 : p.K, p.N);
        }
    }

    private static Operand At(Operand operand, long element) => operand.Exists ? new(operand.Address + (nint)(element * operand.Type.Size()), operand.Type) : operand;

    /// <summary>Launches a product with operands of <paramref name="type"/> after copying those of another type or, where that pays, of an
    /// alignment that the tensor-core kernels cannot read.</summary>
    /// <param name="p">The product.</param>
    /// <param name="type">Type of the operands.</param>
    /// <param name="lda">Elements from one row of A to the next, or 0 if it is dense.</param>
    /// <param name="ldc">Elements from one row of C to the next, or 0 if it is dense.</param>
    private void Multiply(in Product p, DType type, int lda, int ldc)
    {
        bool nt = p.Kind == MatMulKind.NT, tn = p.Kind == MatMulKind.TN;
        Placement a = new(p.A, tn ? p.K : p.M, tn ? p.M : p.K, lda, 0, 0), b = new(p.B, nt ? p.N : p.K, nt ? p.K : p.N, 0, 0, 0);
        Placement left = new(p.Left, p.M, p.Rank, 0, 0, 0), right = new(p.Right, nt ? p.N : p.Rank, nt ? p.Rank : p.N, 0, 0, 0), bias = Place(new(p.Bias, 1, p.N, 0, 0, 0), type, false);
        int unit = 16 / type.Size();
        bool pad = Padding(p, type, unit, [a, b, left, right]);
        (a, b, left, right) = (Place(a, type, pad), Place(b, type, pad), Place(left, type, pad), Place(right, type, pad));
        nint workspace = Scratch(GeneratedKernels.WorkspaceBytes + a.Bytes + b.Bytes + left.Bytes + right.Bytes + bias.Bytes), free = workspace + (nint)GeneratedKernels.WorkspaceBytes;
        _generated!.Multiply(Dense(p, type) with
        {
            // Zeros lengthen both operands of a padded sum: whole units suit more kernels.
            K = nt && pad && p.K % unit != 0 ? a.Pitch : p.K,
            A = Copy(a, type, ref free),
            Lda = a.Pitch,
            B = Copy(b, type, ref free),
            Ldb = b.Pitch,
            Ldc = ldc == 0 ? p.N : ldc,
            Bias = Copy(bias, type, ref free),
            LdAddend = ldc == 0 ? p.N : ldc,
            P = p.Rank == 0 ? 0 : Copy(left, type, ref free),
            Ldp = left.Pitch,
            L = p.Rank == 0 ? 0 : Copy(right, type, ref free),
            Ldl = right.Pitch,
            R = nt && pad && p.Rank % unit != 0 ? left.Pitch : p.Rank,
        }, workspace);
    }

    /// <summary>Launches products of one x as one kernel, if there is one: one or two rows, every operand of one 16-bit type.</summary>
    private bool MultiplyTogether(ReadOnlySpan<Product> products)
    {
        if (_generated is null || products.Length > GemvSpec.MaxParts) return false;
        GemmArgs[] args = new GemmArgs[products.Length];
        for (int i = 0; i < args.Length; i++)
        {
            Product p = products[i];
            DType type = p.A.Type;
            p = p with { Bias = Copied(p.Bias, type) };
            if ((long)p.M * p.N * p.K == 0 || type is not (DType.BF16 or DType.F16) || p.B.Type != type || p.C.Type != type || (p.Bias.Exists && p.Bias.Type != type)) return false;
            args[i] = Dense(p, type);
        }
        return _generated.TryMultiplyTogether(args);
    }

    /// <summary>The kernels' arguments of a product whose operands all lie dense and in <paramref name="type"/>.</summary>
    private GemmArgs Dense(in Product p, DType type)
    {
        bool nt = p.Kind == MatMulKind.NT;
        return new GemmArgs
        {
            Layout = p.Kind switch { MatMulKind.NT => GemmLayout.NT, MatMulKind.NN => GemmLayout.NN, _ => GemmLayout.TN },
            M = p.M,
            N = p.N,
            K = p.K,
            In = GeneratedKernels.Type(type),
            Out = GeneratedKernels.Type(p.C.Type),
            Tf32 = _tf32,
            A = (ulong)p.A.Address,
            Lda = p.Kind == MatMulKind.TN ? p.M : p.K,
            B = (ulong)p.B.Address,
            Ldb = nt ? p.K : p.N,
            C = (ulong)p.C.Address,
            Ldc = p.N,
            Alpha = p.Alpha,
            Bias = (ulong)p.Bias.Address,
            Addend = p.Accumulate ? (ulong)p.C.Address : 0,
            LdAddend = p.N,
            P = p.Rank == 0 ? 0 : (ulong)p.Left.Address,
            Ldp = p.Rank,
            L = p.Rank == 0 ? 0 : (ulong)p.Right.Address,
            Ldl = nt ? p.Rank : p.N,
            R = p.Rank,
        };
    }

    /// <summary>The type in which a product's operands meet, or null when the plain kernel must mix them.</summary>
    private DType? InputType(in Product p)
    {
        DType a = p.A.Type, b = p.B.Type;
        if (_computeType == DType.F32)
        {
            bool mixed = a != DType.F32 || b != DType.F32 || (p.Rank > 0 && (p.Left.Type != DType.F32 || p.Right.Type != DType.F32));
            return !mixed || p.M > WidenAboveRows ? DType.F32 : a == b && p.Rank == 0 ? a : null;
        }
        if (a == b) return a;
        return a == DType.F32 ? b : b == DType.F32 ? a : null;
    }

    /// <summary>Whether operands should be copied to rows of whole 16-byte units: a vocabulary of 50,257 or a rank of 4 would keep a product
    /// off the tensor cores. Without them it takes some fifteen times as long, with them the copies are to be paid.</summary>
    private bool Padding(in Product p, DType type, int unit, ReadOnlySpan<Placement> operands)
    {
        bool fast = type switch { DType.F16 => true, DType.BF16 => _generated!.Arch.IsAmpere(), _ => _tf32 };
        if (!fast) return false;
        long elements = 0;
        int unaligned = 0, copies = 0;
        foreach (Placement o in operands)
        {
            if (!o.Operand.Exists || ((o.SourcePitch == 0 ? o.Columns : o.SourcePitch) % unit == 0 && (o.Operand.Address & 15) == 0)) continue;
            unaligned++;
            if (o.Operand.Type != type) continue; // is copied in any case
            copies++;
            elements += (long)o.Rows * o.Columns;
        }
        // A copied element costs as much time as some 64 multiplications without tensor cores, a launch as 2^26.
        long work = Divide(p.M, 128) * Divide(p.N, 128) * 128 * 128 * p.K;
        return unaligned > 0 && work > 64 * elements + ((long)copies << 26);
    }

    private static Placement Place(Placement o, DType type, bool pad)
    {
        int unit = 16 / type.Size(), source = o.SourcePitch == 0 ? o.Columns : o.SourcePitch, pitch = pad || source != o.Columns ? (int)Divide(o.Columns, unit) * unit : o.Columns;
        bool unaligned = pad && (source % unit != 0 || (o.Operand.Address & 15) != 0);
        if (!o.Operand.Exists || (o.Operand.Type == type && !unaligned)) return o with { SourcePitch = source, Pitch = source };
        return o with { SourcePitch = source, Pitch = pitch, Bytes = Divide((long)o.Rows * pitch * type.Size(), 256) * 256 };
    }

    /// <summary>The operand in its kept 16-bit copy, if it is a parameter that has one.</summary>
    private Operand Copied(Operand operand, DType type) =>
        operand.Exists && operand.Type == DType.F32 && type == _computeType && _copies.TryGetValue(operand.Address, out (nint Copy, long Count) known)
            ? new Operand(known.Copy, type)
            : operand;

    private ulong Copy(in Placement o, DType type, ref nint free)
    {
        if (o.Bytes == 0) return (ulong)o.Operand.Address;
        nint place = free;
        free += (nint)o.Bytes;
        if (o.Pitch == o.SourcePitch) ScaleInto(o.Operand.Address, o.Operand.Type, 1, place, type, (long)o.Rows * o.Pitch, false);
        else
        {
            LaunchRows(_kernels.PadRows.Get(o.Operand.Type, type), o.Rows, Divide(o.Pitch, 4), new RowArgs
            {
                X = o.Operand.Address,
                Y = place,
                Rows = o.Rows,
                Columns = o.Columns,
                XPitch = o.SourcePitch,
                YPitch = o.Pitch,
            });
        }
        return (ulong)place;
    }
}
