namespace LoraNet.Cuda.Ptx;

/// <summary>Conversions between packed 16-bit pairs and floats, and quad (four-lane) exchanges, used by every tensor-core kernel.</summary>
internal static class PtxPointwise
{
    /// <summary>packed = (low, high), rounded to nearest even.</summary>
    public static void Pack(this PtxWriter k, PtxType type, string packed, string low, string high)
    {
        if (k.Arch.IsAmpere())
        {
            k.L($"cvt.rn.{type.Name()}x2.f32 {packed}, {high}, {low};");
            return;
        }
        k.Reg("b16", "pk_lo pk_hi"); // sm_75: fp16 only, one element at a time
        k.L($"cvt.rn.f16.f32 pk_lo, {low}; cvt.rn.f16.f32 pk_hi, {high}; mov.b32 {packed}, {{pk_lo, pk_hi}};");
    }

    /// <summary>(low, high) = packed, exact.</summary>
    public static void Unpack(this PtxWriter k, PtxType type, string packed, string low, string high)
    {
        if (type == PtxType.BF16)
        {
            k.Reg("b32", "up_t");
            k.L($"shl.b32 up_t, {packed}, 16; mov.b32 {low}, up_t; and.b32 up_t, {packed}, 0xffff0000; mov.b32 {high}, up_t;");
            return;
        }
        k.Reg("b16", "pk_lo pk_hi");
        k.L($"mov.b32 {{pk_lo, pk_hi}}, {packed}; cvt.f32.f16 {low}, pk_lo; cvt.f32.f16 {high}, pk_hi;");
    }

    /// <summary>value = one element at <paramref name="address"/>, or 0 where the predicate is false.</summary>
    public static void LoadElement(this PtxWriter k, PtxType type, string value, string address, string predicate, string cache = ".nc")
    {
        if (type == PtxType.F32)
        {
            k.L($"mov.f32 {value}, 0f00000000; @{predicate} ld.global{cache}.f32 {value}, [{address}];");
            return;
        }
        k.Reg("b16", "le_h");
        k.Reg("b32", "le_t");
        k.L($"mov.b16 le_h, 0; @{predicate} ld.global{cache}.b16 le_h, [{address}];");
        k.L(type == PtxType.F16 ? $"cvt.f32.f16 {value}, le_h;" : $"cvt.u32.u16 le_t, le_h; shl.b32 le_t, le_t, 16; mov.b32 {value}, le_t;");
    }

    /// <summary>Stores one float as an element where the predicate is true.</summary>
    public static void StoreElement(this PtxWriter k, PtxType type, string address, string value, string predicate)
    {
        if (type == PtxType.F32)
        {
            k.L($"@{predicate} st.global.f32 [{address}], {value};");
            return;
        }
        k.Reg("b16", "se_h");
        k.Reg("b32", "se_t");
        if (type == PtxType.F16) k.L($"cvt.rn.f16.f32 se_h, {value};");
        else if (k.Arch.IsAmpere()) k.L($"cvt.rn.bf16.f32 se_h, {value};");
        else
        {
            // No conversion instruction before sm_80: add half an ulp, ties to even; NaN keeps a quiet bit.
            k.Reg("b32", "se_u");
            k.Reg("pred", "se_n");
            k.L($"mov.b32 se_t, {value}; shr.u32 se_u, se_t, 16; and.b32 se_u, se_u, 1; add.u32 se_u, se_u, 0x7fff; add.u32 se_u, se_u, se_t; setp.nan.f32 se_n, {value}, {value}; selp.b32 se_u, 0x7fff0000, se_u, se_n; shr.u32 se_u, se_u, 16; cvt.u16.u32 se_h, se_u;");
        }
        k.L($"@{predicate} st.global.b16 [{address}], se_h;");
    }

    /// <summary>value = value combined with the other three lanes of its quad (instruction: add.f32 or max.f32).</summary>
    public static void QuadReduce(this PtxWriter k, string instruction, string value)
    {
        k.Reg("b32", "qr_i qr_o");
        k.Reg("f32", "qr_f");
        foreach (int lane in (int[])[1, 2])
            k.L($"mov.b32 qr_i, {value}; shfl.sync.bfly.b32 qr_o, qr_i, {lane}, 31, 0xffffffff; mov.b32 qr_f, qr_o; {instruction} {value}, {value}, qr_f;");
    }
}
