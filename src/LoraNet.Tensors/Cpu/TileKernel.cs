using System.Runtime.CompilerServices;
using LoraNet.Tensors.Operators;

namespace LoraNet.Tensors.Cpu;

/// <summary>
/// The innermost loop of every matrix product: a tile of up to 12 rows by two vectors is kept in registers while k runs;
/// per k it reads two vectors of B and broadcasts one element of A per row. Rows beyond <c>TRows</c>, and the layout of A,
/// are constants for the compiler, so every tail has its own straight loop.
/// </summary>
internal static unsafe class TileKernel<TSimd, TVector>
    where TSimd : struct, ISimd<TVector> where TVector : unmanaged
{
    /// <summary>Rows of a full tile: as many as the registers hold with two accumulators each.</summary>
    public static int MaxRows => TSimd.Width == 16 || System.Runtime.Intrinsics.Arm.AdvSimd.Arm64.IsSupported ? 12 : 6;

    /// <summary>Columns of a tile.</summary>
    public static int Columns => 2 * TSimd.Width;

    /// <summary>C tile = (C or bias or 0) + A·B + lowA·lowB, for 1 to <see cref="MaxRows"/> rows.</summary>
    public static void Run<TPanel, TLayout>(int rows, TileArguments* t)
        where TPanel : struct, IPanelType where TLayout : struct, ITileLayout
    {
        switch (rows)
        {
            case 1: Run<TPanel, TLayout, Rows1>(t); break;
            case 2: Run<TPanel, TLayout, Rows2>(t); break;
            case 3: Run<TPanel, TLayout, Rows3>(t); break;
            case 4: Run<TPanel, TLayout, Rows4>(t); break;
            case 5: Run<TPanel, TLayout, Rows5>(t); break;
            case 6: Run<TPanel, TLayout, Rows6>(t); break;
            case 7: Run<TPanel, TLayout, Rows7>(t); break;
            case 8: Run<TPanel, TLayout, Rows8>(t); break;
            case 9: Run<TPanel, TLayout, Rows9>(t); break;
            case 10: Run<TPanel, TLayout, Rows10>(t); break;
            case 11: Run<TPanel, TLayout, Rows11>(t); break;
            case 12: Run<TPanel, TLayout, Rows12>(t); break;
            default: throw new ArgumentOutOfRangeException(nameof(rows));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Run<TPanel, TLayout, TRows>(TileArguments* t)
        where TPanel : struct, IPanelType where TLayout : struct, ITileLayout where TRows : struct, ITileRows
    {
        TVector c00, c01, c10, c11, c20, c21, c30, c31, c40, c41, c50, c51;
        TVector c60, c61, c70, c71, c80, c81, c90, c91, c100, c101, c110, c111;
        c00 = c01 = TSimd.Broadcast(0f);
        c10 = c11 = TSimd.Broadcast(0f);
        c20 = c21 = TSimd.Broadcast(0f);
        c30 = c31 = TSimd.Broadcast(0f);
        c40 = c41 = TSimd.Broadcast(0f);
        c50 = c51 = TSimd.Broadcast(0f);
        c60 = c61 = TSimd.Broadcast(0f);
        c70 = c71 = TSimd.Broadcast(0f);
        c80 = c81 = TSimd.Broadcast(0f);
        c90 = c91 = TSimd.Broadcast(0f);
        c100 = c101 = TSimd.Broadcast(0f);
        c110 = c111 = TSimd.Broadcast(0f);
        float* c = t->C;
        nint ldc = t->CStride;
        if (t->LoadC)
        {
            c00 = TSimd.Load(c);
            c01 = TSimd.Load(c + TSimd.Width);
            if (TRows.Value > 1)
            {
                c10 = TSimd.Load(c + ldc);
                c11 = TSimd.Load(c + ldc + TSimd.Width);
            }
            if (TRows.Value > 2)
            {
                c20 = TSimd.Load(c + 2 * ldc);
                c21 = TSimd.Load(c + 2 * ldc + TSimd.Width);
            }
            if (TRows.Value > 3)
            {
                c30 = TSimd.Load(c + 3 * ldc);
                c31 = TSimd.Load(c + 3 * ldc + TSimd.Width);
            }
            if (TRows.Value > 4)
            {
                c40 = TSimd.Load(c + 4 * ldc);
                c41 = TSimd.Load(c + 4 * ldc + TSimd.Width);
            }
            if (TRows.Value > 5)
            {
                c50 = TSimd.Load(c + 5 * ldc);
                c51 = TSimd.Load(c + 5 * ldc + TSimd.Width);
            }
            if (TRows.Value > 6)
            {
                c60 = TSimd.Load(c + 6 * ldc);
                c61 = TSimd.Load(c + 6 * ldc + TSimd.Width);
            }
            if (TRows.Value > 7)
            {
                c70 = TSimd.Load(c + 7 * ldc);
                c71 = TSimd.Load(c + 7 * ldc + TSimd.Width);
            }
            if (TRows.Value > 8)
            {
                c80 = TSimd.Load(c + 8 * ldc);
                c81 = TSimd.Load(c + 8 * ldc + TSimd.Width);
            }
            if (TRows.Value > 9)
            {
                c90 = TSimd.Load(c + 9 * ldc);
                c91 = TSimd.Load(c + 9 * ldc + TSimd.Width);
            }
            if (TRows.Value > 10)
            {
                c100 = TSimd.Load(c + 10 * ldc);
                c101 = TSimd.Load(c + 10 * ldc + TSimd.Width);
            }
            if (TRows.Value > 11)
            {
                c110 = TSimd.Load(c + 11 * ldc);
                c111 = TSimd.Load(c + 11 * ldc + TSimd.Width);
            }
        }
        else if (t->Bias != null)
        {
            c00 = TSimd.Load(t->Bias);
            c01 = TSimd.Load(t->Bias + TSimd.Width);
            c110 = c100 = c90 = c80 = c70 = c60 = c50 = c40 = c30 = c20 = c10 = c00;
            c111 = c101 = c91 = c81 = c71 = c61 = c51 = c41 = c31 = c21 = c11 = c01;
        }
        nint k, stride, step, bStep;
        byte* a0, a3, a6, a9, b;
        k = t->Depth;
        a0 = (byte*)t->A;
        stride = t->AStride * sizeof(float);
        a3 = a0 + 3 * stride;
        a6 = a3 + 3 * stride;
        a9 = a6 + 3 * stride;
        step = TLayout.RowMajor ? sizeof(float) : stride;
        b = (byte*)t->B;
        bStep = t->BStride * TPanel.Size;
        for (; k > 0; k--)
        {
            TVector b0 = TPanel.Load<TSimd, TVector>(b);
            TVector b1 = TPanel.Load<TSimd, TVector>(b + TSimd.Width * TPanel.Size);
            if (TLayout.FarB) Prefetch(b + 24 * bStep);
            b += bStep;
            TVector a;
            a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a0) : ((float*)a0)[0]);
            c00 = TSimd.MultiplyAdd(a, b0, c00);
            c01 = TSimd.MultiplyAdd(a, b1, c01);
            if (TRows.Value > 1)
            {
                a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a0 + stride) : ((float*)a0)[1]);
                c10 = TSimd.MultiplyAdd(a, b0, c10);
                c11 = TSimd.MultiplyAdd(a, b1, c11);
            }
            if (TRows.Value > 2)
            {
                a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a0 + 2 * stride) : ((float*)a0)[2]);
                c20 = TSimd.MultiplyAdd(a, b0, c20);
                c21 = TSimd.MultiplyAdd(a, b1, c21);
            }
            if (TRows.Value > 3)
            {
                a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a3) : ((float*)a0)[3]);
                c30 = TSimd.MultiplyAdd(a, b0, c30);
                c31 = TSimd.MultiplyAdd(a, b1, c31);
            }
            if (TRows.Value > 4)
            {
                a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a3 + stride) : ((float*)a0)[4]);
                c40 = TSimd.MultiplyAdd(a, b0, c40);
                c41 = TSimd.MultiplyAdd(a, b1, c41);
            }
            if (TRows.Value > 5)
            {
                a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a3 + 2 * stride) : ((float*)a0)[5]);
                c50 = TSimd.MultiplyAdd(a, b0, c50);
                c51 = TSimd.MultiplyAdd(a, b1, c51);
            }
            if (TRows.Value > 6)
            {
                a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a6) : ((float*)a0)[6]);
                c60 = TSimd.MultiplyAdd(a, b0, c60);
                c61 = TSimd.MultiplyAdd(a, b1, c61);
            }
            if (TRows.Value > 7)
            {
                a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a6 + stride) : ((float*)a0)[7]);
                c70 = TSimd.MultiplyAdd(a, b0, c70);
                c71 = TSimd.MultiplyAdd(a, b1, c71);
            }
            if (TRows.Value > 8)
            {
                a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a6 + 2 * stride) : ((float*)a0)[8]);
                c80 = TSimd.MultiplyAdd(a, b0, c80);
                c81 = TSimd.MultiplyAdd(a, b1, c81);
            }
            if (TRows.Value > 9)
            {
                a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a9) : ((float*)a0)[9]);
                c90 = TSimd.MultiplyAdd(a, b0, c90);
                c91 = TSimd.MultiplyAdd(a, b1, c91);
            }
            if (TRows.Value > 10)
            {
                a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a9 + stride) : ((float*)a0)[10]);
                c100 = TSimd.MultiplyAdd(a, b0, c100);
                c101 = TSimd.MultiplyAdd(a, b1, c101);
            }
            if (TRows.Value > 11)
            {
                a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a9 + 2 * stride) : ((float*)a0)[11]);
                c110 = TSimd.MultiplyAdd(a, b0, c110);
                c111 = TSimd.MultiplyAdd(a, b1, c111);
            }
            a0 += step;
            if (TLayout.RowMajor)
            {
                if (TRows.Value > 3) a3 += sizeof(float);
                if (TRows.Value > 6) a6 += sizeof(float);
                if (TRows.Value > 9) a9 += sizeof(float);
            }
        }
        if (t->LowDepth > 0)
        {
            k = t->LowDepth;
            a0 = (byte*)t->LowA;
            stride = t->LowAStride * sizeof(float);
            a3 = a0 + 3 * stride;
            a6 = a3 + 3 * stride;
            a9 = a6 + 3 * stride;
            step = TLayout.RowMajor ? sizeof(float) : stride;
            b = (byte*)t->LowB;
            bStep = t->LowBStride * PanelF32.Size;
            for (; k > 0; k--)
            {
                TVector b0 = PanelF32.Load<TSimd, TVector>(b);
                TVector b1 = PanelF32.Load<TSimd, TVector>(b + TSimd.Width * PanelF32.Size);
                b += bStep;
                TVector a;
                a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a0) : ((float*)a0)[0]);
                c00 = TSimd.MultiplyAdd(a, b0, c00);
                c01 = TSimd.MultiplyAdd(a, b1, c01);
                if (TRows.Value > 1)
                {
                    a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a0 + stride) : ((float*)a0)[1]);
                    c10 = TSimd.MultiplyAdd(a, b0, c10);
                    c11 = TSimd.MultiplyAdd(a, b1, c11);
                }
                if (TRows.Value > 2)
                {
                    a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a0 + 2 * stride) : ((float*)a0)[2]);
                    c20 = TSimd.MultiplyAdd(a, b0, c20);
                    c21 = TSimd.MultiplyAdd(a, b1, c21);
                }
                if (TRows.Value > 3)
                {
                    a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a3) : ((float*)a0)[3]);
                    c30 = TSimd.MultiplyAdd(a, b0, c30);
                    c31 = TSimd.MultiplyAdd(a, b1, c31);
                }
                if (TRows.Value > 4)
                {
                    a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a3 + stride) : ((float*)a0)[4]);
                    c40 = TSimd.MultiplyAdd(a, b0, c40);
                    c41 = TSimd.MultiplyAdd(a, b1, c41);
                }
                if (TRows.Value > 5)
                {
                    a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a3 + 2 * stride) : ((float*)a0)[5]);
                    c50 = TSimd.MultiplyAdd(a, b0, c50);
                    c51 = TSimd.MultiplyAdd(a, b1, c51);
                }
                if (TRows.Value > 6)
                {
                    a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a6) : ((float*)a0)[6]);
                    c60 = TSimd.MultiplyAdd(a, b0, c60);
                    c61 = TSimd.MultiplyAdd(a, b1, c61);
                }
                if (TRows.Value > 7)
                {
                    a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a6 + stride) : ((float*)a0)[7]);
                    c70 = TSimd.MultiplyAdd(a, b0, c70);
                    c71 = TSimd.MultiplyAdd(a, b1, c71);
                }
                if (TRows.Value > 8)
                {
                    a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a6 + 2 * stride) : ((float*)a0)[8]);
                    c80 = TSimd.MultiplyAdd(a, b0, c80);
                    c81 = TSimd.MultiplyAdd(a, b1, c81);
                }
                if (TRows.Value > 9)
                {
                    a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a9) : ((float*)a0)[9]);
                    c90 = TSimd.MultiplyAdd(a, b0, c90);
                    c91 = TSimd.MultiplyAdd(a, b1, c91);
                }
                if (TRows.Value > 10)
                {
                    a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a9 + stride) : ((float*)a0)[10]);
                    c100 = TSimd.MultiplyAdd(a, b0, c100);
                    c101 = TSimd.MultiplyAdd(a, b1, c101);
                }
                if (TRows.Value > 11)
                {
                    a = TSimd.Broadcast(TLayout.RowMajor ? *(float*)(a9 + 2 * stride) : ((float*)a0)[11]);
                    c110 = TSimd.MultiplyAdd(a, b0, c110);
                    c111 = TSimd.MultiplyAdd(a, b1, c111);
                }
                a0 += step;
                if (TLayout.RowMajor)
                {
                    if (TRows.Value > 3) a3 += sizeof(float);
                    if (TRows.Value > 6) a6 += sizeof(float);
                    if (TRows.Value > 9) a9 += sizeof(float);
                }
            }
        }
        TSimd.Store(c00, c);
        TSimd.Store(c01, c + TSimd.Width);
        if (TRows.Value > 1)
        {
            TSimd.Store(c10, c + ldc);
            TSimd.Store(c11, c + ldc + TSimd.Width);
        }
        if (TRows.Value > 2)
        {
            TSimd.Store(c20, c + 2 * ldc);
            TSimd.Store(c21, c + 2 * ldc + TSimd.Width);
        }
        if (TRows.Value > 3)
        {
            TSimd.Store(c30, c + 3 * ldc);
            TSimd.Store(c31, c + 3 * ldc + TSimd.Width);
        }
        if (TRows.Value > 4)
        {
            TSimd.Store(c40, c + 4 * ldc);
            TSimd.Store(c41, c + 4 * ldc + TSimd.Width);
        }
        if (TRows.Value > 5)
        {
            TSimd.Store(c50, c + 5 * ldc);
            TSimd.Store(c51, c + 5 * ldc + TSimd.Width);
        }
        if (TRows.Value > 6)
        {
            TSimd.Store(c60, c + 6 * ldc);
            TSimd.Store(c61, c + 6 * ldc + TSimd.Width);
        }
        if (TRows.Value > 7)
        {
            TSimd.Store(c70, c + 7 * ldc);
            TSimd.Store(c71, c + 7 * ldc + TSimd.Width);
        }
        if (TRows.Value > 8)
        {
            TSimd.Store(c80, c + 8 * ldc);
            TSimd.Store(c81, c + 8 * ldc + TSimd.Width);
        }
        if (TRows.Value > 9)
        {
            TSimd.Store(c90, c + 9 * ldc);
            TSimd.Store(c91, c + 9 * ldc + TSimd.Width);
        }
        if (TRows.Value > 10)
        {
            TSimd.Store(c100, c + 10 * ldc);
            TSimd.Store(c101, c + 10 * ldc + TSimd.Width);
        }
        if (TRows.Value > 11)
        {
            TSimd.Store(c110, c + 11 * ldc);
            TSimd.Store(c111, c + 11 * ldc + TSimd.Width);
        }
    }

    /// <summary>Asks for the lines of two vectors; any address is allowed. Nothing where .NET offers no such instruction.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Prefetch(byte* address)
    {
        if (!System.Runtime.Intrinsics.X86.Sse.IsSupported) return;
        System.Runtime.Intrinsics.X86.Sse.Prefetch0(address);
        if (TSimd.Width * sizeof(float) >= 64) System.Runtime.Intrinsics.X86.Sse.Prefetch0(address + 64);
    }
}
